"""Random numbers as a pure function of a key: counter-based (Philox), keyed by SHA-256, on the CPU whatever the device.

Only the generator's raw 64-bit words are used, since numpy fixes those for ever, but not what it makes of them.
"""

from __future__ import annotations

import hashlib
import json

import numpy

Key = int | str


def words(count: int, *key: Key) -> numpy.ndarray:
    """`count` uint64; asking for more of the same key gives the same beginning."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return numpy.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)


def uniforms(count: int, *key: Key) -> numpy.ndarray:
    """`count` float32 in [0, 1), multiples of 2⁻²⁴."""
    return ((words(count, *key) >> numpy.uint64(40)) * 2.0**-24).astype(numpy.float32)


def permutation(size: int, *key: Key) -> numpy.ndarray:
    """A random order of 0 … size − 1; equal words (one chance in 2⁶⁴ a pair) keep their order."""
    return numpy.argsort(words(size, *key), kind="stable")


def below(limit: int, *key: Key) -> int:
    """An integer from 0 to limit − 1; the remainder's bias is below 2⁻³² for any limit under 2³²."""
    return int(words(1, *key)[0]) % limit
