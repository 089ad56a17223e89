"""`python -m tests.measure_saves DIR [--megabytes N]`, in trainer/: what saves cost, as a line of JSON.

Two saves one after the other of a state on the device there is (a GPU's, else the host's memory), while training is
stood for by a loop that changes the state: seconds of standstill, host memory in times of the state, and whether what
was saved is equal to the state of its moment.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from dream_trainer.checkpoint import open_checkpoint
from dream_trainer.distributed import Ranks
from dream_trainer.events import Events
from dream_trainer.loop import peak_memory_bytes
from dream_trainer.saver import Saver

TENSORS = 24


def sums_of(tensors: dict[str, torch.Tensor]) -> list[float]:
    return [tensor.double().sum().item() for tensor in tensors.values()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=240)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    elements = arguments.megabytes * 1_000_000 // 4 // TENSORS
    generator = torch.Generator(device).manual_seed(0)
    tensors = {f"t{number:02}": torch.empty(elements, device=device) for number in range(TENSORS)}
    for tensor in tensors.values():
        tensor.uniform_(generator=generator)
    state = {
        "weights": {n: tensors[n] for n in list(tensors)[:8]},
        "optimizer": {n: tensors[n] for n in list(tensors)[8:]},
    }
    state_bytes = sum(tensor.nbytes for tensor in tensors.values())
    sums = [sums_of(tensors)]
    host = torch.device("cpu")
    before = peak_memory_bytes(host)
    started = time.monotonic()
    saver = Saver(arguments.folder, "measure", "fp32", Ranks(0, 1, device), Events(arguments.folder, 0), state)
    while saver._buffers._free.qsize() < 2:
        time.sleep(0.001)
    allocating = time.monotonic() - started
    stalls = []
    for step in (1, 2):
        stalls.append(saver.save(step, state, [], None, "cadence"))
        for tensor in tensors.values():
            tensor.add_(step)
        sums.append(sums_of(tensors))
    pauses, finished = [0.0], threading.Event()
    threading.Thread(target=lambda: (saver.wait(required=True), finished.set()), daemon=True).start()
    beat = time.monotonic()
    while not finished.is_set():
        time.sleep(0.001)
        pauses.append(time.monotonic() - beat)
        beat = time.monotonic()
    written = time.monotonic() - started
    host_memory = (peak_memory_bytes(host) - before) / state_bytes
    equal = True
    for step, expected in zip((1, 2), sums, strict=False):
        checkpoint = open_checkpoint(arguments.folder / "checkpoints" / f"step-{step}", "measure")
        found = checkpoint.optimizer_tensors()
        for file in checkpoint.weight_files:
            found |= load_file(file)
        equal &= sums_of({name: found[name].to(device) for name in tensors}) == expected
    figures = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "stateBytes": state_bytes,
        "stallSeconds": [round(stall, 4) for stall in stalls],
        "allocateSeconds": round(allocating, 3),
        "writtenSeconds": round(written, 3),
        "longestPauseSeconds": round(max(pauses), 4),
        "hostMemory": round(host_memory, 3),
        "equal": equal,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
