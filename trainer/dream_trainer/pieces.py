"""Pieces: runs of rows along a tensor's first dimension, as ranks hold and store the tensors that they share.

A safetensors file with pieces tells in its header's metadata, under `pieces`, for each: [start, whole shape].
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

_KEY = "pieces"


@dataclass(frozen=True)
class Piece:
    """Rows from `start` to before `stop` of a tensor of `shape`."""

    start: int
    stop: int
    shape: tuple[int, ...]


Pieces = Mapping[str, Piece]
"""Of the tensors, by name, that are not held whole."""


def metadata_of(pieces: Pieces) -> dict[str, str] | None:
    return {_KEY: json.dumps({name: [p.start, list(p.shape)] for name, p in pieces.items()})} if pieces else None


def stored_tensors(file: Path) -> Iterator[tuple[str, Piece, Callable[[int, int], Tensor]]]:
    """Each tensor's name, what the file has of it, and a function that reads rows of the whole, [start, stop).

    A number counts as one row. Raises SafetensorError for a damaged file."""
    with safe_open(file, framework="pt") as tensors:
        pieces = json.loads((tensors.metadata() or {}).get(_KEY, "{}"))
        for name in tensors.keys():  # noqa: SIM118 (not a dict)
            stored = tensors.get_slice(name)
            shape = tuple(stored.get_shape())
            start, whole = pieces.get(name, (0, shape))
            rows = shape[0] if shape else 1

            def read(low: int, high: int, name: str = name, start: int = start, rows: int = rows) -> Tensor:
                if (low, high) == (start, start + rows):
                    return tensors.get_tensor(name)
                return tensors.get_slice(name)[low - start : high - start]

            yield name, Piece(start, start + rows, tuple(whole)), read
