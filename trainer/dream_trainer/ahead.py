"""Makes the next batch on a thread while the present one is learnt. What a batch is depends on its step alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from .batches import Batch


class Ahead:
    def __init__(self, make: Callable[[int], Batch]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[int, Future[Batch]] | None = None

    def take(self, step: int, last: int) -> Batch:
        """The batch of a step, and the next one, up to the last, is begun."""
        asked = self._next[1] if self._next and self._next[0] == step else self._thread.submit(self._make, step)
        batch = asked.result()
        self._next = (step + 1, self._thread.submit(self._make, step + 1)) if step < last else None
        return batch
