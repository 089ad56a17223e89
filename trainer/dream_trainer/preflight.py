"""Looks at a rank's device before an attempt: its memory is free, it reports no fault, and it still calculates.

What fails is a HardwareFault, with which the run goes elsewhere. Says nothing where all is well. What nvidia-smi does
not tell (no such program, `[N/A]`, a slice of a GPU) is not held against a device.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from .doctor import check_product
from .failures import TrainerFailure

FREE_WITHIN_SECONDS = 60.0
"""The kernel takes seconds to take back what killed processes held, the more the more they held."""

_POLL_SECONDS = 0.5
_TELL_AFTER_SECONDS = 2.0
_ANSWER_SECONDS = 30.0
_FREE_MIB = 1024
_FREE_SHARE = 0.02
"""Below the larger of both a device counts as free: a desktop, or a monitor's context, takes as much."""

_COPIES = 1024

_GPU = ("index", "name", "pci.bus_id", "memory.used", "memory.total")
_FAULTS = {
    "ecc.errors.uncorrected.volatile.total": "uncorrected ECC errors since it was last reset",
    "retired_pages.pending": "memory pages to be retired at its next reset",
}
_ROW_FAULTS = {
    "remapped_rows.pending": "memory rows to be remapped at its next reset",
    "remapped_rows.failure": "a failed remapping of memory rows",
}
_XIDS = {
    48: "uncorrected ECC",
    64: "failed row remapping",
    74: "NVLink",
    79: "fallen off the bus",
    95: "uncontained ECC",
}
_XIDS |= {119: "GSP timeout", 120: "GSP", 140: "unrecovered ECC"}
"""Those of NVIDIA's catalogue that are the device's own fault; others come from a program, or are told in counters."""

_RECENT_SECONDS = 600.0
"""What ended an attempt just now is that young. An older line was answered by a reset, or stands in a counter."""

_XID = re.compile(r"^\d+,\d+,(\d+),[^;]*;NVRM: Xid \(PCI:[0-9a-f]+:([0-9a-f]+:[0-9a-f]+)[^)]*\): (\d+)", re.I | re.M)


def preflight(device: torch.device) -> None:
    """Raises HardwareFault. Comes before anything else is done with `device`, whose own context would count as use."""
    if device.type == "cuda":
        check_gpu(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    elif torch.version.cuda is not None and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        _check_that_none_is_lost()
    for dtype in (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
        for _ in range(2):  # Right twice is also equal twice.
            product = check_product(str(device), dtype, _COPIES if device.type == "cuda" else 1)
            if product != "right":
                raise _fault(
                    f"a product of {dtype} matrices on {device}", product, "the known answer", "look at its log"
                )


def check_alike(devices: Sequence[str]) -> None:
    """Of the names of all ranks' devices. Raises HardwareFault."""
    kinds = {name: [str(rank) for rank, other in enumerate(devices) if other == name] for name in devices}
    if len(kinds) > 1:
        raise _fault(
            f"the devices of {len(devices)} ranks",
            ", ".join(f"{name} (rank {', '.join(ranks)})" for name, ranks in kinds.items()),
            "one model of GPU, since another sums in another order, and all wait for the slowest",
            "leave the others out of the worker's CUDA_VISIBLE_DEVICES",
        )


def check_gpu(
    gpu: str, *, free_within_seconds: float = FREE_WITHIN_SECONDS, kernel_log: Path = Path("/dev/kmsg")
) -> None:
    """What nvidia-smi and the kernel tell of the GPU with this UUID; waits for its memory."""
    states = _ask("--query-gpu", (*_GPU, *_FAULTS), gpu)
    if not states:
        return
    index, name, bus, _, _, *told = states[0]
    thing = f"GPU {index} ({name})"
    faults = [f"{what} ({value})" for what, value in zip(_FAULTS.values(), told, strict=True) if _is_set(value)]
    for rows in _ask("--query-remapped-rows", tuple(_ROW_FAULTS), gpu):
        faults += [what for what, value in zip(_ROW_FAULTS.values(), rows, strict=True) if _is_set(value)]
    faults += [f"Xid {xid} ({_XIDS[xid]}) in the kernel's log" for xid in recent_xids(bus, kernel_log)]
    if faults:
        raise _fault(thing, ", ".join(faults), "none", "reset the GPU or take this host out of service")
    _wait_for_memory(gpu, thing, free_within_seconds)


def _wait_for_memory(gpu: str, thing: str, free_within_seconds: float) -> None:
    started, is_told = time.monotonic(), False
    while states := _ask("--query-gpu", ("memory.used", "memory.total"), gpu):
        used, total = (int(value) if value.isdecimal() else 0 for value in states[0])
        most = max(_FREE_MIB, round(_FREE_SHARE * total))
        if used <= most:
            return
        waited = time.monotonic() - started
        if waited >= free_within_seconds:
            apps = _ask("--query-compute-apps", ("pid", "process_name", "used_memory"), gpu)
            holders = (
                ", ".join(f"{program} (pid {pid}): {mib} MiB" for pid, program, mib in apps) or "no process it names"
            )
            raise _fault(
                thing,
                f"{used} of {total} MiB still in use after {waited:.0f} s, by {holders}",
                f"at most {most} MiB, as an earlier attempt's processes are gone",
                "end what holds it, or leave this GPU out of the worker's CUDA_VISIBLE_DEVICES",
            )
        if waited > _TELL_AFTER_SECONDS and not is_told:
            print(f"dream_trainer: waiting for the memory of {thing}: {used} MiB in use", file=sys.stderr, flush=True)
            is_told = True
        time.sleep(_POLL_SECONDS)


def recent_xids(bus: str, kernel_log: Path) -> list[int]:
    """Numbers of the device's own faults at PCI address `bus` (as nvidia-smi has it); none where the log is closed."""
    address, since = bus.lower().rpartition(".")[0].partition(":")[2], time.monotonic() - _RECENT_SECONDS
    found = ((float(us) / 1e6, at, int(xid)) for us, at, xid in _XID.findall(_read_log(kernel_log)))
    return [xid for at_second, at, xid in found if xid in _XIDS and at.lower() == address and at_second >= since]


def _read_log(file: Path) -> str:
    """All records of a kernel log, which never ends: a read that would wait is the end."""
    parts: list[bytes] = []
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        while True:
            try:
                part = os.read(descriptor, 2**16)
            except BrokenPipeError:  # Records were overwritten meanwhile; the next read goes on behind them.
                continue
            if not part:
                break
            parts.append(part)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts).decode(errors="replace")


def _check_that_none_is_lost() -> None:
    """A driver that has lost its GPUs leaves torch with the CPU, on which a training would go on for months."""
    listed = _ask("--query-gpu", ("index", "name"))
    if listed:
        raise _fault(
            "torch", "no GPU that it can use", f"GPU {listed[0][0]} ({listed[0][1]}), which nvidia-smi lists",
            'look at `nvidia-smi` and the driver, or set CUDA_VISIBLE_DEVICES="" to train on the CPU',
        )  # fmt: skip


def _ask(query: str, fields: tuple[str, ...], gpu: str | None = None) -> list[list[str]]:
    """Lines of nvidia-smi's CSV; none where it is missing or does not know."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"{query}={','.join(fields)}", "--format=csv,noheader,nounits", *(["-i", gpu] if gpu else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _fault("nvidia-smi", f"no answer in {error.timeout:.0f} s", "one", "restart this host") from error
    lines = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [line for line in lines if len(line) == len(fields)]


def _is_set(value: str) -> bool:
    """A count above 0, or yes."""
    return value == "Yes" or (value.isdecimal() and int(value) > 0)


def _fault(thing: str, found: str, expected: str, remedy: str) -> TrainerFailure:
    return TrainerFailure("HardwareFault", f"{thing}: found {found}; expected {expected}; {remedy}")
