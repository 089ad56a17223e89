"""Which rows of a global batch each rank goes through, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Sequence

from .batches import Batch

Chunk = list[int]
"""Row indices into the batch."""


def micro_batches(rows: int, size: int, rank: int, ranks: int) -> list[Chunk]:
    mine = list(range(rank, rows, ranks))
    return [mine[start : start + size] for start in range(0, len(mine), size)]


def stand_ins(batch: Batch, shares: Sequence[Sequence[Chunk]], rank: int) -> list[Chunk]:
    """What a rank goes through, for nothing, after its own micro-batches: so many of others' that all ranks make
    equally many passes. Micro-batches without a masked token are gone through by nobody."""
    passes = [[chunk for chunk in chunks if batch.take(chunk).masked_tokens] for chunks in shares]
    longest = max(passes, key=len)
    return longest[len(passes[rank]) :]
