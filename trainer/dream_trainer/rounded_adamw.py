"""AdamW on bf16 weights: computed in float32, rounded stochastically by keyed bits; moments in bf16 or in 8 bits.

Weights may lie on any device; on a GPU the update is one compiled kernel a tensor. W elements of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import quantised
from .pieces import Piece
from .quantised import BLOCK, blocks_of
from .rounding import high_half, low_half, mix, random_bits, round_to_bf16, step_key
from .sharding import first_element, local, piece_of
from .spec import OptimizerSpec

_CHUNK = 2**24
"""Elements updated at a time: bounds the float32 temporaries of a CPU. A multiple of the block."""

_COMPILED_CHUNK = 2**27

State = dict[str, Tensor]


class RoundedAdamW:
    """`tensors` has the state by parameter name: `exp_avg.NAME`, `exp_avg_sq.NAME` (with `…_scale.NAME` in 8 bits), and
    `updates`, the count of steps taken. Of a sharded parameter it has this rank's rows, and draws their bits by their
    places in the whole."""

    def __init__(self, model: nn.Module, spec: OptimizerSpec, *, seed: int, is_8bit: bool) -> None:
        self._parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._spec, self._seed, self._is_8bit = spec, seed, is_8bit
        self.tensors: State = {"updates": torch.zeros((), dtype=torch.float32)}
        self.pieces: dict[str, Piece] = {}
        for name, parameter in self._parameters:
            zeros = self._zeros(name, local(parameter))
            self.tensors |= zeros
            if piece := piece_of(parameter):
                self.pieces |= {key: _of_blocks(piece) if "_scale." in key else piece for key in zeros}
        device = self._parameters[0][1].device
        update = update_8bit if is_8bit else update_bf16
        # Sizes differ by tensor: one kernel for all of them, whose arithmetic is each element's own.
        self._update: Callable[..., Any] = _compiled(update) if device.type == "cuda" else update
        self._chunk = _COMPILED_CHUNK if device.type == "cuda" else _CHUNK

    def _zeros(self, name: str, parameter: Tensor) -> State:
        if not self._is_8bit:
            return {f"{m}.{name}": torch.zeros_like(parameter) for m in ("exp_avg", "exp_avg_sq")}
        scale = torch.zeros(blocks_of(parameter.numel()), dtype=torch.float32, device=parameter.device)
        return {
            f"exp_avg.{name}": torch.zeros_like(parameter, dtype=torch.int8),
            f"exp_avg_scale.{name}": scale,
            f"exp_avg_sq.{name}": torch.zeros_like(parameter, dtype=torch.uint8),
            f"exp_avg_sq_scale.{name}": scale.clone(),
        }

    def restore(self, tensors: State) -> None:
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def update(self, step: int, rate: float, factor: Tensor | None = None) -> None:
        """One step with learning rate `rate`; `step` keys the rounding."""
        spec = self._spec
        self.tensors["updates"] += 1
        updates = int(self.tensors["updates"])
        device = self._parameters[0][1].device
        numbers = torch.tensor(
            [
                1 - rate * spec.weight_decay,
                rate / (1 - spec.beta1**updates),
                1 / (1 - spec.beta2**updates),
                spec.beta1,
                spec.beta2,
                spec.epsilon,
            ],
            dtype=torch.float32,
            device=device,
        )
        numbers = torch.cat((numbers, numbers.new_ones(1) if factor is None else factor.float().view(1)))
        chunks = [
            (name, parameter, start, (*step_key(self._seed, step, index), first_element(parameter) + start))
            for index, (name, parameter) in enumerate(self._parameters)
            for start in range(0, local(parameter).numel(), self._chunk)
        ]
        keys = torch.tensor([key for *_, key in chunks], dtype=torch.int32, device=device)
        for (name, parameter, start, _), key_3 in zip(chunks, keys, strict=True):
            assert parameter.grad is not None
            part = slice(start, start + self._chunk)
            weights_W, grads_W = (local(tensor).view(-1)[part] for tensor in (parameter, parameter.grad))
            moments = [self.tensors[f"{moment}.{name}"].view(-1)[part] for moment in ("exp_avg", "exp_avg_sq")]
            if not self._is_8bit:
                self._update(weights_W, grads_W, *moments, key_3, numbers)
                continue
            blocks = slice(start // BLOCK, start // BLOCK + blocks_of(weights_W.numel()))
            scales = [self.tensors[f"{moment}_scale.{name}"][blocks] for moment in ("exp_avg", "exp_avg_sq")]
            self._update_blocks(weights_W, grads_W, moments, scales, key_3, numbers)

    def _update_blocks(
        self, weights_W: Tensor, grads_W: Tensor, moments: list[Tensor], scales: list[Tensor], *how: Tensor
    ) -> None:
        """Whole blocks: the last of a tensor whose size is no multiple of theirs goes through a padded copy."""
        own = [weights_W, grads_W, *moments]
        missing = -weights_W.numel() % BLOCK
        padded = [F.pad(tensor, (0, missing)) for tensor in own] if missing else own
        self._update(*(tensor.view(-1, BLOCK) for tensor in padded), *scales, *how)
        if missing:
            for tensor, whole in zip(own, padded, strict=True):
                tensor.copy_(whole[: tensor.numel()])


def _of_blocks(piece: Piece) -> Piece:
    """Which scales belong to rows that begin with a block."""
    elements = math.prod(piece.shape[1:])
    ends = (piece.start * elements // BLOCK, blocks_of(piece.stop * elements))
    return Piece(*ends, (blocks_of(math.prod(piece.shape)),))


def _compiled(update: Callable[..., None]) -> Callable[..., None]:
    """Only the first size is left open: blocks of a size that the compiler knows are reduced in registers."""
    compiled = torch.compile(update, fullgraph=True)

    def run(*tensors: Tensor) -> None:
        for tensor in tensors[:-2]:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        compiled(*tensors)

    return run


def update_bf16(w: Tensor, g: Tensor, m: Tensor, v: Tensor, key_3: Tensor, numbers: Tensor) -> None:
    """In place on weights, gradients and moments, all bf16 [W]."""
    bits = random_bits(key_3, w.numel())
    new_w, new_m, new_v = _adamw(w, g, m.float(), v.float(), numbers)
    w.copy_(round_to_bf16(new_w, low_half(bits)))
    m.copy_(round_to_bf16(new_m, high_half(bits)))
    v.copy_(round_to_bf16(new_v, low_half(mix(bits))))


def update_8bit(
    w_NB: Tensor,
    g_NB: Tensor,
    m_NB: Tensor,
    v_NB: Tensor,
    m_scale_N: Tensor,
    v_scale_N: Tensor,
    key_3: Tensor,
    numbers: Tensor,
) -> None:
    """The same on blocks: weights and gradients bf16, codes int8 and uint8, scales float32."""
    bits_NB = random_bits(key_3, w_NB.numel()).view_as(w_NB)
    m, v = quantised.decode_first(m_NB, m_scale_N), quantised.decode_second(v_NB, v_scale_N)
    new_w, new_m, new_v = _adamw(w_NB, g_NB, m, v, numbers)
    w_NB.copy_(round_to_bf16(new_w, low_half(bits_NB)))
    for codes, scale, (new_codes, new_scale) in (
        (m_NB, m_scale_N, quantised.encode_first(new_m, high_half(bits_NB))),
        (v_NB, v_scale_N, quantised.encode_second(new_v, low_half(mix(bits_NB)))),
    ):
        codes.copy_(new_codes)
        scale.copy_(new_scale)


def _adamw(w: Tensor, g: Tensor, m: Tensor, v: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loshchilov & Hutter's update in float32."""
    keep, rate, correction, beta1, beta2, epsilon, factor = numbers.unbind()
    g = g.float() * factor
    m = m * beta1 + g * (1 - beta1)
    v = v * beta2 + g.square() * (1 - beta2)
    return w.float() * keep - rate * m / ((v * correction).sqrt() + epsilon), m, v
