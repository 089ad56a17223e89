"""`python -m dream_trainer bench checkpoint DIR --gigabytes N`: standstill, write rate and restore of a state.

    python -m dream_trainer bench checkpoint /tmp/saves --gigabytes 20 --json checkpoint.json

The state is made of tensors of one size, as many as there are in Dream 7B; restoring verifies every hash. DIR needs
room for two checkpoints.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import checkpoint_folder, open_checkpoint
from ..distributed import Ranks
from ..events import Events
from ..saver import Saver
from .measuring import device_here, tell

TENSORS = 339


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer bench checkpoint", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the state (default 1)")
    parser.add_argument("--saves", type=int, default=2, help="one after the other (default 2)")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args(argv)
    device = device_here()
    elements = int(arguments.gigabytes * 1e9) // 4 // TENSORS
    state = {"optimizer": {f"t{number:03}": torch.rand(elements, device=device) for number in range(TENSORS)}}
    state_bytes = 4 * elements * TENSORS
    arguments.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    saver = Saver(arguments.folder, "bench", "bench", Ranks(0, 1, device), Events(arguments.folder, 0), state)
    saver.wait_for_buffers()
    rows: list[dict[str, Any]] = [{"name": "allocate and pin", "seconds": time.monotonic() - started}]
    for step in range(1, arguments.saves + 1):
        started = time.monotonic()
        stall = saver.save(step, state, [], None, "cadence")
        saver.wait(required=True)
        seconds = time.monotonic() - started
        rate = state_bytes / seconds / 1e9
        rows.append({"name": f"save {step}", "stallSeconds": stall, "seconds": seconds, "gigabytesPerSecond": rate})
    started = time.monotonic()
    checkpoint = open_checkpoint(checkpoint_folder(arguments.folder / "checkpoints", arguments.saves), "bench")
    verified = time.monotonic() - started
    for name, tensor in checkpoint.optimizer_tensors().items():
        state["optimizer"][name].copy_(tensor)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.monotonic() - started
    rate = state_bytes / seconds / 1e9
    rows.append({"name": "restore", "verifySeconds": verified, "seconds": seconds, "gigabytesPerSecond": rate})
    tell(f"bench checkpoint, {state_bytes / 1e9:.1f} GB", rows, arguments, device)
    return 0
