"""This process among others: it dies with its parent, and hears SIGTERM in every phase. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

from .failures import EXIT_PREEMPTED

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel (Linux) for SIGKILL when the parent ends, whatever ends it."""
    parent = os.getppid()
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):  # Not Linux: whoever starts the trainer has to see to it.
        return
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # It died before it could be asked for.
        os.kill(os.getpid(), signal.SIGKILL)


class Termination:
    """SIGTERM: ends the process at once while nothing is worth saving, in between only sets a flag.

    At once is with status 75, or by the signal itself for one of several ranks: their launcher learns by it that no
    rank can have anything to save.
    """

    def __init__(self) -> None:
        self.requested = False
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            signal.signal(signal.SIGTERM, _exit)

    def defer(self) -> None:
        """From here on the loop asks `requested` between steps, and saves before it ends."""
        signal.signal(signal.SIGTERM, self._hear)

    def end_at_once(self) -> None:
        """From here on all is saved; where SIGTERM has come already, it ends here."""
        signal.signal(signal.SIGTERM, _exit)
        if self.requested:
            os._exit(EXIT_PREEMPTED)

    def _hear(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True


def _exit(_signal: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_PREEMPTED)
