"""Global batches: which rows, how they are cut to one length, and which tokens are masked.

All of it is a pure function of (seed, epoch or step, row number). Shapes: B rows, S places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
import torch
from torch import Tensor

from .config import DreamConfig
from .data import Row
from .model import visible_positions
from .noise import below, permutation, uniforms
from .objective import token_weights
from .spec import ObjectiveSpec, TrainSpec


@dataclass(frozen=True)
class Layout:
    """Rows brought to one length, before any noise. Arrays are [B, S]."""

    ids_BS: numpy.ndarray
    visible_BS: numpy.ndarray
    loss_mask_BS: numpy.ndarray
    response_starts: list[int]
    """The place where the response begins in each row; its noise is counted from there, whatever the padding."""


@dataclass(frozen=True)
class Batch:
    """Noised rows, on the CPU. `attention_BS` and `positions_BS` are None where every place is visible."""

    rows: list[int]
    clean_ids_BS: Tensor
    noised_ids_BS: Tensor
    attention_BS: Tensor | None
    positions_BS: Tensor | None
    masked_BS: Tensor
    weights_BS: Tensor
    masked_tokens: int

    def without_weight(self) -> Batch:
        """The same passes through a model, and no gradient."""
        return replace(self, weights_BS=torch.zeros_like(self.weights_BS))

    def take(self, indices: Sequence[int]) -> Batch:
        """The part of the batch with these row indices: a micro-batch."""
        index = torch.tensor(indices)
        masked_BS = self.masked_BS[index]
        return Batch(
            rows=[self.rows[i] for i in indices],
            clean_ids_BS=self.clean_ids_BS[index],
            noised_ids_BS=self.noised_ids_BS[index],
            attention_BS=None if self.attention_BS is None else self.attention_BS[index],
            positions_BS=None if self.positions_BS is None else self.positions_BS[index],
            masked_BS=masked_BS,
            weights_BS=self.weights_BS[index],
            masked_tokens=int(masked_BS.sum()),
        )


def counted_response(row: Row, keep_eos: bool, pad: int) -> numpy.ndarray:
    """The response as a cutoff counts it. Upstream drops every pad id, and as pad = eos, the real end with them."""
    return row.response_ids if keep_eos else row.response_ids[row.response_ids != pad]


def cutoff_choices(rows: Sequence[Row], cutoff: str, keep_eos: bool, pad: int) -> list[int]:
    """For each row, the length that the batch is cut to if this row is drawn."""
    if cutoff == "random_with_input_pad":
        return [len(counted_response(row, keep_eos, pad)) for row in rows]
    if keep_eos:
        return [row.tokens for row in rows]
    return [int((row.prompt_ids != pad).sum() + (row.response_ids != pad).sum()) for row in rows]


def lay_out(rows: Sequence[Row], cutoff: str, keep_eos: bool, length: int, pad: int) -> Layout:
    """Brings rows to one length: `length` places, or, with `random_with_input_pad`, `length` places of response
    behind prompts that are left-padded (invisibly) to the longest. Right padding is visible text to be learnt."""
    if cutoff == "random_with_input_pad":
        responses = [counted_response(row, keep_eos, pad) for row in rows]
        prompt_places = max(len(row.prompt_ids) for row in rows)
        places = prompt_places + length
        lefts = [prompt_places - len(row.prompt_ids) for row in rows]
    else:
        responses = [row.response_ids for row in rows]
        places = length
        lefts = [0] * len(rows)
    ids_BS = numpy.full((len(rows), places), pad, numpy.int64)
    visible_BS = numpy.ones((len(rows), places), bool)
    loss_mask_BS = numpy.zeros((len(rows), places), bool)
    starts = []
    for index, (row, response, left) in enumerate(zip(rows, responses, lefts, strict=True)):
        start = left + len(row.prompt_ids)
        text = numpy.concatenate((row.prompt_ids, response))[: places - left]
        ids_BS[index, left : left + len(text)] = text
        visible_BS[index, :left] = False
        loss_mask_BS[index, start:] = True
        starts.append(start)
    return Layout(ids_BS, visible_BS, loss_mask_BS, starts)


def apply_noise(loss_mask_BS: numpy.ndarray, t_B: numpy.ndarray, u_BS: numpy.ndarray) -> numpy.ndarray:
    """True where a token is masked: u < t, strictly, in the loss mask."""
    return (u_BS < t_B[:, None]) & loss_mask_BS


def noise_rows(layout: Layout, keys: Sequence[tuple[int | str, ...]]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """t [B] and masked [B, S], each row's drawn under its key: t first, then one u for each place of the response."""
    places = layout.ids_BS.shape[1]
    t_B = numpy.zeros(len(keys), numpy.float32)
    u_BS = numpy.ones((len(keys), places), numpy.float32)
    for index, (key, start) in enumerate(zip(keys, layout.response_starts, strict=True)):
        drawn = uniforms(1 + max(places - start, 0), *key)
        t_B[index] = drawn[0]
        u_BS[index, start:] = drawn[1:]
    return t_B, apply_noise(layout.loss_mask_BS, t_B, u_BS)


class TrainingBatches:
    """The global batch of every step, counted from 1: every row once an epoch, the last batch of it smaller."""

    def __init__(
        self,
        rows: Sequence[Row],
        config: DreamConfig,
        objective: ObjectiveSpec,
        *,
        seed: int,
        global_batch_size: int,
        max_tokens: int,
    ) -> None:
        self._rows = rows
        self._config = config
        self._objective = objective
        self._seed = seed
        self._size = global_batch_size
        self._max_tokens = max_tokens
        self.steps_per_epoch = -(-len(rows) // global_batch_size)
        self._order: tuple[int, numpy.ndarray] = (-1, numpy.empty(0, numpy.int64))

    @classmethod
    def of(cls, spec: TrainSpec, rows: Sequence[Row], config: DreamConfig) -> TrainingBatches:
        return cls(
            rows,
            config,
            spec.objective,
            seed=spec.seed,
            global_batch_size=spec.global_batch_size,
            max_tokens=spec.max_tokens,
        )

    def epoch_of(self, step: int) -> int:
        return (step - 1) // self.steps_per_epoch

    def row_numbers(self, step: int) -> list[int]:
        epoch, index = divmod(step - 1, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, permutation(len(self._rows), self._seed, "order", epoch))
        return self._order[1][index * self._size : (index + 1) * self._size].tolist()

    def batch(self, step: int) -> Batch:
        numbers, epoch = self.row_numbers(step), self.epoch_of(step)
        layout = self._layout([self._rows[number] for number in numbers], step)
        t_B, masked_BS = noise_rows(layout, [(self._seed, "noise", epoch, number) for number in numbers])
        masked = torch.from_numpy(masked_BS)
        clean = torch.from_numpy(layout.ids_BS)
        visible = None if layout.visible_BS.all() else torch.from_numpy(layout.visible_BS)
        return Batch(
            rows=numbers,
            clean_ids_BS=clean,
            noised_ids_BS=clean.masked_fill(masked, self._config.mask_token_id),
            attention_BS=visible,
            positions_BS=None if visible is None else visible_positions(visible),
            masked_BS=masked,
            weights_BS=token_weights(masked, torch.from_numpy(t_B), self._objective.weighting, self._objective.cart_p),
            masked_tokens=int(masked_BS.sum()),
        )

    def _layout(self, rows: list[Row], step: int) -> Layout:
        cutoff, keep_eos, pad = self._objective.cutoff, self._objective.keep_eos, self._config.pad_token_id
        length = self._max_tokens
        if cutoff != "none":
            choices = cutoff_choices(rows, cutoff, keep_eos, pad)
            length = choices[below(len(choices), self._seed, "cutoff", step)]
        return lay_out(rows, cutoff, keep_eos, length, pad)
