"""Appends events to `RUN_DIR/events.jsonl`, a line of JSON each, as `contracts/trainer.ts` defines them. A journal
tells people of them, too."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

from .failures import TrainerFailure
from .journal import Journal

_ROOM_WITHIN_SECONDS = 5.0
"""A save that found the disk full gives back what it took, within moments."""
_POLL_SECONDS = 0.05


class Events:
    """Rank 0 writes; the others are silent, except that the rank that fails tells its incident itself."""

    def __init__(self, run_dir: Path, rank: int, journal: Journal | None = None) -> None:
        self._rank = rank
        self._journal = journal
        # A line is one write to a file opened for appending: whole or absent, whoever else writes and dies.
        self._file = os.open(run_dir / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def emit(self, type: str, **fields: Any) -> None:
        if self._rank == 0:
            event = {"type": type, "at": time.time(), **fields}
            self._write(event)
            if self._journal is not None:
                self._journal.tell(event)

    def phase(self, phase: str) -> None:
        self.emit("phase", phase=phase)

    def incident(self, failure: TrainerFailure) -> None:
        self._write(
            {
                "type": "incident",
                "at": time.time(),
                "kind": failure.kind,
                "message": failure.message,
                "step": failure.step,
                "details": failure.details,
            }
        )

    def _write(self, event: dict[str, Any]) -> None:
        rest = (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()
        deadline = time.monotonic() + _ROOM_WITHIN_SECONDS
        while rest:  # A disk that fills up takes a part of a line.
            try:
                rest = rest[os.write(self._file, rest) :]
            except OSError as error:
                if error.errno != errno.ENOSPC or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)
