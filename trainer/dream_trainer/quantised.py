"""Adam's moments in 8 bits: blocks of 256 elements with one float32 scale, codes on a curve, rounded stochastically.

A code c of n stands for scale × (c/n)^p: p = 2 with a sign for the first moment, p = 4 for the second, whose square
root then spans five decades. Rounding keeps the mean, since an average that moves by 5 % a step would else stand still
between codes.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 256

_SIGNED_STEPS = 127
_UNSIGNED_STEPS = 255
_RANDOM_STEPS = 65536
_SMALLEST = 1e-37


def blocks_of(elements: int) -> int:
    return -(-elements // BLOCK)


def decode_first(codes_NB: Tensor, scale_N: Tensor) -> Tensor:
    y = codes_NB.float() * (1 / _SIGNED_STEPS)
    return y * y.abs() * scale_N[:, None]


def decode_second(codes_NB: Tensor, scale_N: Tensor) -> Tensor:
    return _fourth(codes_NB.float() * (1 / _UNSIGNED_STEPS)) * scale_N[:, None]


def encode_first(m_NB: Tensor, bits_NB: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int8 and scales of the first moment, by 16 random bits an element."""
    scale_N, share = _shares(m_NB.abs())
    low = (share.sqrt() * _SIGNED_STEPS).floor().clamp(max=_SIGNED_STEPS - 1)
    below, above = ((low + more) * (1 / _SIGNED_STEPS) for more in (0, 1))
    code = low + _is_up(share, below.square(), above.square(), bits_NB)
    return (code * m_NB.sign()).to(torch.int8), scale_N


def encode_second(v_NB: Tensor, bits_NB: Tensor) -> tuple[Tensor, Tensor]:
    """Codes uint8 and scales of the second moment. What is above 0 stays so: it divides the update."""
    scale_N, share = _shares(v_NB)
    low = (share.sqrt().sqrt() * _UNSIGNED_STEPS).floor().clamp(max=_UNSIGNED_STEPS - 1)
    below, above = ((low + more) * (1 / _UNSIGNED_STEPS) for more in (0, 1))
    code = low + _is_up(share, _fourth(below), _fourth(above), bits_NB)
    return torch.where(v_NB > 0, code.clamp(min=1), 0).to(torch.uint8), scale_N


def _fourth(x: Tensor) -> Tensor:
    return x.square().square()


def _shares(size_NB: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each block, and each element's share of it (0 in a block of zeros, or of what has no inverse)."""
    scale_N = size_NB.amax(dim=1)
    return scale_N, size_NB * torch.where(scale_N > _SMALLEST, 1 / scale_N, 0)[:, None]


def _is_up(share: Tensor, below: Tensor, above: Tensor, bits: Tensor) -> Tensor:
    """With the probability of (share − below) / (above − below). Without a division: these are what a step of 7.6 B
    parameters would wait for."""
    return (bits.float() * (above - below) < (share - below) * _RANDOM_STEPS).float()
