"""What the compiler wrote for a training, as one file that spares the next attempt the compiling, here or elsewhere.

The file is code: torch unpickles its entries and runs them. So it is read only from a path that the caller vouches
for; nothing here looks for one. Within it the compiler finds by its own keys (graph, versions, GPU) what fits, and
compiles the rest.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch


def load_kernels(file: Path) -> bool:
    """Whether there were any. One that is unreadable costs the time to compile, and is written anew."""
    if not file.is_file():
        return False
    reason = "torch cannot read it"
    try:
        if torch.compiler.load_cache_artifacts(file.read_bytes()) is not None:
            return True
    except Exception as error:  # Whatever its bytes lead torch to; what it meant to spare is all that is lost.
        reason = repr(error)
    print(f"dream_trainer: {file} is no file of compiled kernels ({reason}); compiling anew", file=sys.stderr)
    return False


def keep_kernels(file: Path, *, were_loaded: bool) -> None:
    """Writes what this process compiled or found in the compiler's own cache, where the file lacks any of it."""
    if were_loaded and not _has_compiled():
        return
    made = torch.compiler.save_cache_artifacts()
    if made is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_bytes(made[0])
    partial.replace(file)


def _has_compiled() -> bool:
    from torch._dynamo.utils import counters

    return any(
        counters[cache][f"{name}_cache_{outcome}"]
        for cache, name in (("inductor", "fxgraph"), ("aot_autograd", "autograd"))
        for outcome in ("miss", "bypass")
    )
