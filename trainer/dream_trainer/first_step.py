"""How long a fresh host takes to the first step of a training, by what was measured. Needs no torch."""

from __future__ import annotations

from .memory import Request, Shape, bytes_by_kind
from .recipes import RECIPES

DOWNLOAD_BYTES_PER_SECOND = 1.25e9
"""10 Gbit/s, which the store's parallel ranged reads are made to fill."""

# Measured on an H200 host with Dream 7B's shapes (test/bench/results/h200-start.json), but for what says otherwise.
_IMPORT_SECONDS = 9.0
"""Python, torch, the checks of the GPU."""
_LOAD_BYTES_PER_SECOND = 1.0e9
"""From page cache to the GPU, beside the pinning of host memory for saves; 1.5e9 where the host has used its memory
before."""
_COMPILE_SECONDS = {"kept": 11.0, "anew": 75.0}
"""With the file of kernels and without: measured were 58 s in shards over two GPUs, and 103 s of `precompile` as a
whole, its imports and a first step included, beside another compiler."""
_FIRST_STEP_MORE_SECONDS = 2.5
"""That a first step takes beyond a later one."""


def first_step(
    shape: Shape, asked: Request, global_batch_size: int, tokens_per_second: float | None
) -> dict[str, float]:
    """Bytes to bring to the host, and seconds to the first step: of the first attempt, which compiles beside the
    download, or in shards behind it; of a later one, which finds the kernels and fetches a checkpoint; and as
    `startSeconds`, of the trainer where all is on the host."""
    kinds = bytes_by_kind(shape, asked)
    shares = asked.gpus if asked.is_sharded else 1
    weights = 2 * shape.parameters
    if RECIPES[asked.recipe].lora:  # Adapters and their two moments, all in float32.
        checkpoint = kinds["moments"] * 3 // 2
        later = checkpoint + weights
    else:  # With all weights in it, those of the base are not asked for.
        later = checkpoint = (kinds["weights"] + kinds["moments"]) * shares
    step = global_batch_size * asked.max_tokens / tokens_per_second if tokens_per_second else 0.0
    ready = _IMPORT_SECONDS + weights / shares / _LOAD_BYTES_PER_SECOND + step + _FIRST_STEP_MORE_SECONDS
    kept, anew = (_COMPILE_SECONDS[how] if asked.is_compiled else 0.0 for how in ("kept", "anew"))
    download = weights / DOWNLOAD_BYTES_PER_SECOND
    is_ahead = asked.is_compiled and not asked.is_sharded
    first = max(download, _IMPORT_SECONDS + anew) + kept if is_ahead else download + anew
    return {
        "weightsBytes": weights,
        "checkpointBytes": checkpoint,
        "firstAttemptSeconds": round(first + ready, 1),
        "laterAttemptSeconds": round(later / DOWNLOAD_BYTES_PER_SECOND + ready + kept, 1),
        "startSeconds": round(ready + kept, 1),
    }
