"""When to save: at a fixed number of steps, or as Young and Daly have it from the measured cost of a save."""

from __future__ import annotations

import math

from .spec import CheckpointSpec


class Cadence:
    """Time-based cadence is asked on rank 0 only; when to save never changes what is trained."""

    def __init__(self, spec: CheckpointSpec, now: float) -> None:
        self._spec = spec
        self._last_save = now
        self._cost_seconds = 0.0

    @property
    def interval_seconds(self) -> float:
        """√(2 · cost · time between preemptions), between floor and ceiling; the floor until a save was measured."""
        optimum = math.sqrt(2 * self._cost_seconds * self._spec.expected_seconds_between_preemptions)
        return max(self._spec.min_seconds, min(optimum, self._spec.max_seconds))

    def due(self, step: int, now: float, ready: bool) -> bool:
        """`ready`: whether a save could begin without waiting for another."""
        if self._spec.every_steps is not None:
            return step % self._spec.every_steps == 0
        return ready and now - self._last_save >= self.interval_seconds

    def saved(self, now: float, stall_seconds: float) -> None:
        self._last_save = now
        self._cost_seconds = stall_seconds
