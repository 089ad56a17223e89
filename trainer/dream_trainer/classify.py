"""Finds out which kind of failure an exception is, by type and by the words of CUDA and of the disk."""

from __future__ import annotations

import errno
import re
import traceback
from typing import Any

from .failures import IncidentKind, TrainerFailure

_MEMORY = re.compile(
    r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|can't allocate memory|not enough memory|bad_alloc", re.IGNORECASE
)
_HARDWARE = re.compile(r"CUDA error|CUDA driver|cuBLAS|CUBLAS_STATUS|CUDNN_STATUS|NCCL|\bECC\b|\bXid\b", re.IGNORECASE)
_DISK_FULL = re.compile(r"No space left on device|os error 28|Disk quota exceeded", re.IGNORECASE)
_PEER = re.compile(r"Connection (closed|reset) by peer|Broken pipe|gloo", re.IGNORECASE)
_LAST_LINES = 12


def classify(error: BaseException, phase: str, step: int | None, **context: Any) -> TrainerFailure:
    """The failure as an incident. `context` (micro-batch, ranks) goes into its details."""
    if isinstance(error, TrainerFailure):
        return error
    text = f"{type(error).__name__}: {error}"
    details = {"phase": phase, **context, "traceback": traceback.format_exception(error)[-_LAST_LINES:]}
    kind: IncidentKind = "TrainerCrashed"
    told = f"{text.splitlines()[0]} in phase {phase}; expected none; see the traceback in the incident's details"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _MEMORY.search(text):
        kind = "OutOfMemory"
        told = (
            f"memory ran out in phase {phase}, micro-batch {context.get('microBatchSize')}: {text.splitlines()[0]}; "
            "expected to fit; halve the micro-batch, or turn on activation checkpointing"
        )
    elif (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or _DISK_FULL.search(text):
        kind = "DiskFull"
        told = f"the disk is full in phase {phase}: {text.splitlines()[0]}; expected room; free some and go on"
    elif type(error).__name__ == "AcceleratorError" or _HARDWARE.search(text):
        kind = "HardwareFault"
        told = f"the device failed in phase {phase}: {text.splitlines()[0]}; expected it to work; go on elsewhere"
    return TrainerFailure(kind, told, step=step, details=details)


def is_lost_peer(error: BaseException) -> bool:
    """Whether this rank failed only because another did: that one's incident tells the cause."""
    return isinstance(error, RuntimeError) and bool(_PEER.search(str(error)))
