"""The look at a real GPU: python -m pytest tests/test_preflight_cuda.py -s. Skipped, aloud, where there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest
import torch

from dream_trainer.failures import TrainerFailure
from dream_trainer.preflight import check_gpu, preflight

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or shutil.which("nvidia-smi") is None, reason="no GPU and nvidia-smi here"
    ),
]
HOLD_GIB = 8
HOLDER = f"""
import sys, torch
held = torch.ones({HOLD_GIB} * 2**30, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def gpu() -> str:
    return f"GPU-{torch.cuda.get_device_properties(0).uuid}"


@pytest.fixture
def holder():
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_memory_that_another_process_keeps_is_a_fault(gpu: str, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(TrainerFailure) as caught:
        check_gpu(gpu, free_within_seconds=1)
    print(caught.value.message)
    assert caught.value.kind == "HardwareFault"
    assert f"{HOLD_GIB * 1024}" < caught.value.message.split("found ")[1]


def test_waits_until_a_killed_process_has_given_its_memory_back(gpu: str, holder: subprocess.Popen[str]) -> None:
    code = "import os, sys, time; time.sleep(3); os.kill(int(sys.argv[1]), 9)"
    killer = subprocess.Popen([sys.executable, "-c", code, str(holder.pid)])
    started = time.monotonic()
    check_gpu(gpu, free_within_seconds=30)
    seconds = time.monotonic() - started
    killer.wait()
    print(f"free after {seconds:.1f} s")
    assert seconds > 2 and holder.wait() == -9


def test_does_not_count_itself_and_costs_little() -> None:
    """In a process of its own, as an attempt has it: the first look comes before any context."""
    code = """
import time, torch
from dream_trainer.distributed import own_device
from dream_trainer.preflight import check_gpu, preflight
device = own_device()
began = time.monotonic()
gpu = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
asked = time.monotonic()
check_gpu(gpu, free_within_seconds=0)
looked = time.monotonic()
torch.zeros(1, device=device)
context = time.monotonic()
preflight(device)
print(f"properties {asked - began:.2f} s, look {looked - asked:.2f} s, CUDA's own context {context - looked:.2f} s, "
      f"then all of it {time.monotonic() - context:.2f} s")
print(looked - asked)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    print(done.stdout + done.stderr)
    assert done.returncode == 0 and float(done.stdout.split()[-1]) < 3
    preflight(torch.device("cuda", 0))
