"""The ways in which the trainer can fail: one exception with a kind, and the exit status that each kind brings."""

from __future__ import annotations

from typing import Any, Literal

IncidentKind = Literal["OutOfMemory", "Diverged", "HardwareFault", "DiskFull", "InvalidSpec", "TrainerCrashed"]

EXIT_CRASHED = 1
EXIT_INVALID = 2
EXIT_DISK_FULL = 73
"""sysexits' EX_CANTCREAT: told by the status as well, since the incident itself may have found no room."""
EXIT_PREEMPTED = 75
"""sysexits' EX_TEMPFAIL: saved on SIGTERM, ready to be resumed."""


class TrainerFailure(Exception):
    """A failure that becomes an `incident` event. `details` must be JSON."""

    def __init__(
        self, kind: IncidentKind, message: str, *, step: int | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.kind: IncidentKind = kind
        self.message = message
        self.step = step
        self.details = details or {}

    @property
    def exit_code(self) -> int:
        return {"InvalidSpec": EXIT_INVALID, "DiskFull": EXIT_DISK_FULL}.get(self.kind, EXIT_CRASHED)


class Preempted(Exception):
    """Raised by SIGTERM where nothing needs saving; the process ends with status 75 and without an incident."""


def invalid(thing: str, found: str, expected: str, remedy: str, **details: Any) -> TrainerFailure:
    """Bad input, told in four parts: the thing, what came, what was expected, what to do."""
    return TrainerFailure("InvalidSpec", f"{thing}: found {found}; expected {expected}; {remedy}", details=details)
