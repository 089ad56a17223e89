"""Generates by unmasking: four remasking strategies, each row by its own count of masks, every draw keyed.

Formulas of Dream's public sampler; with `forbid_mask=False` its sequences are reproduced. Departures, on purpose:
- a row is treated by its own number of masks (there: the batch's mean), so its text does not depend on its mates;
- the mask token cannot be "revealed";
- equal confidences are taken in order of place; confidences are computed in float32 whatever the model's type;
- a draw is a function of seed, sample id, step and place in the row, so it does not depend on batch or device;
- a step that reveals nothing costs no forward pass.

Shapes: B rows, S places, N chosen places of all rows, V vocabulary, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import noise as keyed
from .fields import choice, integer, nullable, number, optional
from .model import DreamModel, visible_positions

Noise = Callable[[int, int, str, int], np.ndarray]
"""(row, step, purpose, n) → n uniform numbers in [0, 1) for the first n places of a row, its padding not counted."""

Places = tuple[Tensor, ...]
"""Rows [N] and places [N]."""

LOGITS_AT_ONCE = 1 << 27
"""Elements of logits held at a time: 0.5 GiB in float32."""

DRAW_BLOCK = 256


@dataclass(frozen=True)
class SamplerSettings:
    """Also the `sampler` of an eval spec; `contracts/trainer.ts` documents each field."""

    algorithm: str = optional(choice("origin", "maskgit_plus", "topk_margin", "entropy"), "entropy")
    max_new_tokens: int = optional(integer(1, 131072), 512)
    steps: int = optional(integer(1, 131072), 256)
    temperature: float = optional(number(low=0), 0.2)
    top_p: float | None = optional(nullable(number(above=0, high=1)), None)
    top_k: int | None = optional(nullable(integer(1)), None)
    algorithm_temperature: float = optional(number(low=0), 0.0)
    mode: str = optional(choice("exact", "cached"), "exact")
    block_length: int = optional(integer(1, 131072), 32)
    refresh_every_blocks: int = optional(integer(1, 131072), 1)
    threshold: float | None = optional(nullable(number(above=0, high=1)), None)


@dataclass(frozen=True)
class Step:
    """What a caller may show after each step."""

    step: int
    sequences_BS: Tensor
    confidence_BS: Tensor | None
    """−inf where nothing is masked; None for `origin` and where no forward pass was needed."""


@dataclass(frozen=True)
class Samples:
    sequences_BS: Tensor
    reveal_steps_BS: Tensor
    """The step, from 0, that revealed each token; −1 for those that were given."""


def keyed_noise(seed: int, sample_ids: Sequence[str]) -> Noise:
    """Noise as a pure function of (seed, sample id, step, purpose)."""

    def uniforms(row: int, step: int, purpose: str, count: int) -> np.ndarray:
        # 53 bits: the tails of a large vocabulary are finer than float32.
        return (keyed.words(count, "sample", seed, sample_ids[row], step, purpose) >> np.uint64(11)) * 2.0**-53

    return uniforms


def pad_left(prompts: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor | None]:
    """Ids and visibility [B, S] of prompts padded to the longest; no visibility where no padding is needed."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad_token_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    if all(len(prompt) == longest for prompt in prompts):
        return ids, None
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return ids, torch.arange(longest)[None] >= longest - lengths[:, None]


@torch.inference_mode()
def sample(
    model: DreamModel,
    prompts_BS: Tensor,
    visible_BS: Tensor | None,
    settings: SamplerSettings,
    noise: Noise,
    on_step: Callable[[Step], None] | None = None,
    *,
    forbid_mask: bool = True,
    eps: float = 1e-3,
) -> Samples:
    """Appends `max_new_tokens` masks to each prompt and reveals them, and masks within the prompts, over `steps`.

    `prompts_BS` is padded on the left where `visible_BS` is false. `eps` is the last timestep.
    """
    canvas = Canvas(model, prompts_BS, visible_BS, settings, noise, forbid_mask)
    shares = revealed_shares(settings.steps, eps)
    for step in range(settings.steps):
        masked_BS = canvas.masked()
        hidden_BSD = confidence_BS = None
        if settings.algorithm == "origin":
            chosen_BS = masked_BS & (canvas.uniforms(step, "reveal") < float(shares[step])).to(masked_BS.device)
        else:
            counts = [int(np.float32(masks) * shares[step]) for masks in masked_BS.sum(dim=1).tolist()]
            chosen_BS = torch.zeros_like(masked_BS)
            if any(counts):
                hidden_BSD = canvas.hidden()
                confidence_BS = canvas.confidence(hidden_BSD, masked_BS, step)
                chosen_BS = canvas.most_confident(confidence_BS, counts, step)
        if chosen_BS.any():
            canvas.reveal(canvas.hidden() if hidden_BSD is None else hidden_BSD, chosen_BS, step)
        if on_step is not None:
            on_step(Step(step, canvas.x_BS, confidence_BS))
    return Samples(canvas.x_BS, canvas.reveal_steps_BS)


def revealed_shares(steps: int, eps: float) -> np.ndarray:
    """1 − s/t of each step, in float32 as the public sampler computes it; all at the last step."""
    times = torch.linspace(1, eps, steps + 1)
    shares = (1 - times[1:] / times[:-1]).numpy()
    shares[-1] = 1
    return shares


def processed_probabilities(logits_NV: Tensor, temperature: float, top_p: float | None, top_k: int | None) -> Tensor:
    """Temperature, then top-p, then top-k, then softmax, in float32.

    Top-p keeps a token iff the mass strictly before it is at most `top_p`; top-k keeps ties with the k-th.
    """
    logits_NV = logits_NV.float()
    if temperature > 0:
        logits_NV = logits_NV / temperature
    if top_p is not None and top_p < 1:
        sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
        # On the CPU, because a running sum has no deterministic kernel on CUDA.
        mass_NV = sorted_NV.softmax(dim=-1).cpu().cumsum(dim=-1).to(logits_NV.device)
        removed_NV = torch.nn.functional.pad(mass_NV[:, :-1] > top_p, (1, 0), value=False)
        logits_NV = logits_NV.masked_fill(removed_NV.gather(1, order_NV.argsort(dim=-1)), -torch.inf)
    if top_k is not None and top_k < logits_NV.shape[-1]:
        kth_N1 = logits_NV.topk(top_k, dim=-1).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < kth_N1, -torch.inf)
    return logits_NV.softmax(dim=-1)


def confidence(probabilities_NV: Tensor, algorithm: str, uniforms_N: Tensor | None = None) -> Tensor:
    """How sure each place is of its token: the higher, the earlier it is revealed. The token of `maskgit_plus` is the
    most probable one, or that drawn by `uniforms_N`."""
    if algorithm == "maskgit_plus":
        return probabilities_NV.gather(1, _tokens(probabilities_NV, uniforms_N)[:, None])[:, 0]
    if algorithm == "topk_margin":
        first_N, second_N = probabilities_NV.topk(2, dim=-1).values.unbind(dim=-1)
        return first_N - second_N
    return (probabilities_NV * torch.log(probabilities_NV + 1e-10)).sum(dim=-1)


def draw_tokens(probabilities_NV: Tensor, uniforms_N: Tensor) -> Tensor:
    """Inverts the distribution function at a uniform number a row.

    In two levels, blocks and then places of one block, in float64 on the CPU: the same on every device, and only a
    sum a block travels there.
    """
    rows, vocabulary = probabilities_NV.shape
    padded_NV = torch.nn.functional.pad(probabilities_NV, (0, -vocabulary % DRAW_BLOCK))
    blocks_NKW = padded_NV.view(rows, -1, DRAW_BLOCK)
    ends_NK = blocks_NKW.sum(dim=-1, dtype=torch.float64).cpu().cumsum(dim=-1)
    targets_N1 = uniforms_N.double().cpu()[:, None] * ends_NK[:, -1:]
    block_N1 = torch.searchsorted(ends_NK, targets_N1, right=True).clamp_max(ends_NK.shape[1] - 1)
    before_N1 = torch.nn.functional.pad(ends_NK, (1, 0)).gather(1, block_N1)
    index_N = torch.arange(rows, device=probabilities_NV.device)
    inside_NW = blocks_NKW[index_N, block_N1[:, 0].to(index_N.device)].double().cpu()
    place_N1 = torch.searchsorted(inside_NW.cumsum(dim=-1), targets_N1 - before_N1, right=True)
    # Rounding may point behind the block's last token that has any probability.
    last_N1 = DRAW_BLOCK - 1 - (inside_NW > 0).int().flip(1).argmax(dim=1, keepdim=True)
    return (block_N1 * DRAW_BLOCK + torch.minimum(place_N1, last_N1))[:, 0].to(probabilities_NV.device)


class Canvas:
    """The sequences while they are denoised, and what each step asks of the model."""

    def __init__(
        self,
        model: DreamModel,
        prompts_BS: Tensor,
        visible_BS: Tensor | None,
        settings: SamplerSettings,
        noise: Noise,
        forbid_mask: bool,
    ) -> None:
        self._model, self._settings, self._noise = model, settings, noise
        self.score = score
        """Or the same, compiled."""
        self._device = next(model.parameters()).device
        self._mask_id = model.config.mask_token_id
        self._forbidden = self._mask_id if forbid_mask else None
        room = (0, settings.max_new_tokens)
        self.x_BS = torch.nn.functional.pad(prompts_BS, room, value=self._mask_id).to(self._device)
        self.reveal_steps_BS = torch.full_like(self.x_BS, -1)
        self.visible_BS = self.positions_BS = None
        start_B = torch.zeros(len(prompts_BS), dtype=torch.long)
        if visible_BS is not None:
            start_B = visible_BS.int().argmax(dim=1)
            self.visible_BS = torch.nn.functional.pad(visible_BS.bool(), room, value=True).to(self._device)
            # Padding gets position 1, as in the public sampler; nothing sees it.
            self.positions_BS = visible_positions(self.visible_BS).masked_fill(~self.visible_BS, 1)
        self._starts = start_B.tolist()
        self.start_B = start_B.to(self._device)

    def masked(self) -> Tensor:
        masked_BS = self.x_BS == self._mask_id
        return masked_BS if self.visible_BS is None else masked_BS & self.visible_BS

    def hidden(self) -> Tensor:
        return self._model.hidden(self.x_BS, self.visible_BS, self.positions_BS)

    def uniforms(self, step: int, purpose: str) -> Tensor:
        """One number a place [B, S], float64, on the CPU; 1 in the padding."""
        rows, places = self.x_BS.shape
        drawn_BS = np.ones((rows, places))
        for row, start in enumerate(self._starts):
            drawn_BS[row, start:] = self._noise(row, step, purpose, places - start)
        return torch.from_numpy(drawn_BS)

    def confidence(self, hidden_BSD: Tensor, masked_BS: Tensor, step: int) -> Tensor:
        """Confidence [B, S], −inf where nothing is masked."""
        return self.confidence_at(hidden_BSD, self.places(masked_BS), step)

    def confidence_at(self, hidden_BSD: Tensor, places: Places, step: int) -> Tensor:
        """The same, without a wait for the device where no token is drawn."""
        settings, algorithm = self._settings, self._settings.algorithm
        uniforms_N = _at(self._token_uniforms(step), places) if algorithm == "maskgit_plus" else None
        hidden_ND = self._predicting(hidden_BSD, places)
        size = max(1, LOGITS_AT_ONCE // self._model.config.vocab_size)
        scored = []
        for part in (slice(begin, begin + size) for begin in range(0, len(hidden_ND), size)):
            if uniforms_N is None and settings.top_p is None and settings.top_k is None:
                logits_NV = self._model.head(hidden_ND[part])
                scored.append(self.score(logits_NV, self._forbidden, algorithm, settings.temperature))
                continue
            drawn_by = None if uniforms_N is None else uniforms_N[part]
            scored.append(confidence(self._probabilities(hidden_ND[part]), algorithm, drawn_by))
        confidence_BS = torch.full(self.x_BS.shape, -torch.inf, device=self._device)
        confidence_BS[places] = torch.cat(scored)
        return confidence_BS

    def places(self, at_BS: Tensor) -> Places:
        return at_BS.nonzero(as_tuple=True)

    def most_confident(self, confidence_BS: Tensor, counts: Sequence[int], step: int) -> Tensor:
        """The `counts` most confident places of each row; the first of equals."""
        score_BS = confidence_BS
        if self._settings.algorithm_temperature > 0:
            # Gumbel's trick: the largest of score + noise are drawn from softmax(score) without replacement.
            uniforms_BS = self.uniforms(step, "place").to(self._device)
            gumbel_BS = -torch.log(-torch.log(uniforms_BS.clamp_min(1e-300)))
            score_BS = confidence_BS.double() / self._settings.algorithm_temperature + gumbel_BS
            score_BS = score_BS.masked_fill(confidence_BS == -torch.inf, -torch.inf)
        order_BS = score_BS.sort(dim=1, descending=True, stable=True).indices
        rank_S = torch.arange(order_BS.shape[1], device=self._device)
        first_BS = rank_S[None] < torch.tensor(counts, device=self._device)[:, None]
        return torch.zeros_like(first_BS).scatter(1, order_BS, first_BS)

    def reveal(self, hidden_BSD: Tensor, chosen_BS: Tensor, step: int) -> None:
        uniforms_BS = self._token_uniforms(step)  # Drawn while the device is still choosing.
        places = self.places(chosen_BS)
        probabilities_NV = self._probabilities(self._predicting(hidden_BSD, places))
        revealed_BS = self.x_BS.clone()
        revealed_BS[places] = _tokens(probabilities_NV, _at(uniforms_BS, places))
        self.x_BS = revealed_BS
        self.reveal_steps_BS = self.reveal_steps_BS.masked_fill(chosen_BS, step)

    def _predicting(self, hidden_BSD: Tensor, places: Places) -> Tensor:
        """The hidden states [N, D] that predict these places.

        A place is predicted by the one before it, the first of a row by itself, whatever padding stands before it.
        """
        rows_N, places_N = places
        return hidden_BSD[rows_N, torch.maximum(places_N - 1, self.start_B[rows_N])]

    def _token_uniforms(self, step: int) -> Tensor | None:
        return self.uniforms(step, "token") if self._settings.temperature > 0 else None

    def _probabilities(self, hidden_ND: Tensor) -> Tensor:
        logits_NV, settings = self._model.head(hidden_ND), self._settings
        return _possible(logits_NV, self._forbidden, settings.temperature, settings.top_p, settings.top_k)


def _possible(
    logits_NV: Tensor, forbidden: int | None, temperature: float, top_p: float | None = None, top_k: int | None = None
) -> Tensor:
    """Probabilities, 0 for the forbidden token."""
    logits_NV = logits_NV.float()
    if forbidden is not None:
        logits_NV[:, forbidden] = -torch.inf
    return processed_probabilities(logits_NV, temperature, top_p, top_k)


def score(logits_NV: Tensor, forbidden: int | None, algorithm: str, temperature: float) -> Tensor:
    """Confidence [N] of the most probable tokens; a function of its own, to be compiled."""
    return confidence(_possible(logits_NV, forbidden, temperature), algorithm)


def _tokens(probabilities_NV: Tensor, uniforms_N: Tensor | None) -> Tensor:
    return probabilities_NV.argmax(dim=-1) if uniforms_N is None else draw_tokens(probabilities_NV, uniforms_N)


def _at(uniforms_BS: Tensor | None, places: Places) -> Tensor | None:
    return None if uniforms_BS is None else uniforms_BS[tuple(index.cpu() for index in places)]
