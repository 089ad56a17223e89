"""Stochastic rounding whose random bits are a function of a key and the element's place: the same in every attempt.

A 32-bit integer hash (two rounds of xor-shift-multiply, constants of Chris Wellons' `lowbias32`) of the place, keyed by
64 bits that hold seed, step and parameter. No state, so that nothing but the step has to be restored.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_HIGH_HALF = -65536
"""0xffff0000 as an int32."""


def step_key(seed: int, step: int, parameter: int) -> tuple[int, int]:
    """Two int32 from SHA-256 of the three numbers."""
    digest = hashlib.sha256(f"rounding {seed} {step} {parameter}".encode()).digest()
    return int.from_bytes(digest[:4], "big", signed=True), int.from_bytes(digest[4:8], "big", signed=True)


def mix(x: Tensor) -> Tensor:
    """A permutation of the int32 whose outputs look random. Shifts are arithmetic, so that masks cut the sign."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -2073254261  # 0x846ca68b
    return x ^ ((x >> 16) & 0xFFFF)


def random_bits(key_3: Tensor, elements: int) -> Tensor:
    """int32 [elements], of key (k0, k1, place of the first element)."""
    places = torch.arange(elements, dtype=torch.int32, device=key_3.device) + key_3[2]
    return mix(mix(places ^ key_3[0]) ^ key_3[1])


def low_half(bits: Tensor) -> Tensor:
    return bits & 0xFFFF


def high_half(bits: Tensor) -> Tensor:
    return (bits >> 16) & 0xFFFF


def round_to_bf16(x: Tensor, bits_16: Tensor) -> Tensor:
    """bfloat16 of float32 `x`: up or down with the probabilities that keep the mean, by 16 random bits each.

    What bfloat16 holds exactly stays as it is."""
    return ((x.view(torch.int32) + bits_16) & _HIGH_HALF).view(torch.float32).to(torch.bfloat16)
