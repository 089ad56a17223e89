"""The look at a device before an attempt: what it waits for, what it refuses, and in which words."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from dream_trainer import preflight
from dream_trainer.doctor import check_product
from dream_trainer.failures import TrainerFailure
from dream_trainer.preflight import check_gpu, recent_xids

from .nvidia_smi import UUID, NvidiaSmi

BUS = "00000000:1B:00.0"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvidiaSmi:
    return NvidiaSmi(tmp_path, monkeypatch)


@pytest.fixture
def no_log(tmp_path: Path) -> Path:
    return tmp_path / "none"


def refusal(**changes: object) -> str:
    with pytest.raises(TrainerFailure) as caught:
        check_gpu(UUID, **changes)
    assert caught.value.kind == "HardwareFault"
    return caught.value.message


def test_says_nothing_of_a_healthy_device(
    nvidia_smi: NvidiaSmi, no_log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_gpu(UUID, kernel_log=no_log)
    nvidia_smi.answer(memory__used="[N/A]", memory__total="[N/A]", ecc__errors__uncorrected__volatile__total="[N/A]")
    check_gpu(UUID, kernel_log=no_log)
    assert capfd.readouterr() == ("", "")


def test_waits_for_memory_that_an_earlier_attempt_still_holds(
    nvidia_smi: NvidiaSmi, no_log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "_TELL_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(preflight, "_POLL_SECONDS", 0.05)
    nvidia_smi.answer(memory__used="70000")
    freed = threading.Timer(0.6, nvidia_smi.answer)
    freed.start()
    started = time.monotonic()
    check_gpu(UUID, kernel_log=no_log, free_within_seconds=30)
    freed.join()
    assert time.monotonic() - started >= 0.6
    assert capfd.readouterr().err.count("waiting for the memory of GPU 0 (NVIDIA H100 80GB HBM3): 70000 MiB") == 1


def test_memory_that_stays_taken_is_a_fault_that_names_the_holder(nvidia_smi: NvidiaSmi, no_log: Path) -> None:
    holder = {"pid": "4711", "process_name": "/usr/bin/python3", "used_memory": "69000"}
    nvidia_smi.answer(memory__used="70000", apps=[holder])
    message = refusal(kernel_log=no_log, free_within_seconds=0)
    assert "GPU 0 (NVIDIA H100 80GB HBM3): found 70000 of 81559 MiB still in use" in message
    assert "/usr/bin/python3 (pid 4711): 69000 MiB; expected at most 1631 MiB" in message
    nvidia_smi.answer(memory__used="1700")
    assert "no process it names" in refusal(kernel_log=no_log, free_within_seconds=0)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("ecc.errors.uncorrected.volatile.total", "2", "uncorrected ECC errors since it was last reset (2)"),
        ("retired_pages.pending", "Yes", "memory pages to be retired at its next reset (Yes)"),
        ("remapped_rows.pending", "Yes", "memory rows to be remapped at its next reset"),
        ("remapped_rows.failure", "Yes", "a failed remapping of memory rows"),
    ],
)
def test_a_fault_in_the_devices_own_counters_is_refused(
    nvidia_smi: NvidiaSmi, no_log: Path, field: str, value: str, told: str
) -> None:
    nvidia_smi.answer(**{field.replace(".", "__"): value})
    assert f"found {told}; expected none; reset the GPU" in refusal(kernel_log=no_log)


def test_an_xid_of_this_device_counts_while_it_is_young(nvidia_smi: NvidiaSmi, tmp_path: Path) -> None:
    log, now = tmp_path / "kmsg", time.monotonic()

    def record(bus: str, xid: int, ago: float) -> str:
        at = int((now - ago) * 1e6)
        return f"4,77,{at},-;NVRM: Xid (PCI:0000:{bus}:00): {xid}, pid=9, name=python, text\n SUBSYSTEM=pci\n"

    other, old, of_a_program = record("9d", 79, 1), record("1b", 79, 700), record("1b", 31, 1)
    log.write_text("6,1,5,-;Linux version 6\n" + other + old + of_a_program)
    assert recent_xids(BUS, log) == []
    check_gpu(UUID, kernel_log=log)
    log.write_text(log.read_text() + record("1b", 79, 2))
    assert recent_xids(BUS, log) == [79]
    assert "found Xid 79 (fallen off the bus) in the kernel's log; expected none" in refusal(kernel_log=log)


def test_what_nvidia_smi_does_not_know_is_not_held_against_a_device(
    nvidia_smi: NvidiaSmi, no_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi.answer(memory__used="70000")
    monkeypatch.setattr(preflight, "_GPU", ("index", "no.such.field"))
    check_gpu(UUID, kernel_log=no_log, free_within_seconds=0)
    monkeypatch.setenv("PATH", "")
    check_gpu(UUID, kernel_log=no_log, free_within_seconds=0)


def test_a_silent_nvidia_smi_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(preflight, "_ANSWER_SECONDS", 0.2)
    assert "nvidia-smi: found no answer" in refusal()


def test_a_gpu_that_torch_has_lost_is_a_fault_and_not_a_training_on_the_cpu(
    nvidia_smi: NvidiaSmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.version, "cuda", None)
    preflight.preflight(cpu)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(TrainerFailure, match=r"GPU 0 .NVIDIA H100 80GB HBM3., which nvidia-smi lists"):
        preflight.preflight(cpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    preflight.preflight(cpu)


def test_a_device_that_multiplies_wrongly_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_product("cpu", torch.bfloat16, 3) == "right"
    bmm = torch.bmm
    monkeypatch.setattr(
        torch, "bmm", lambda left, right: bmm(left, right).index_put_((torch.tensor(0),) * 3, torch.tensor(7.0))
    )
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TrainerFailure, match=r"a product of torch.float32 matrices on cpu: found wrong") as caught:
        preflight.preflight(torch.device("cpu"))
    assert caught.value.kind == "HardwareFault"


def test_costs_next_to_nothing_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    started = time.monotonic()
    preflight.preflight(torch.device("cpu"))
    seconds = time.monotonic() - started
    print(f"{seconds * 1000:.1f} ms")
    assert seconds < 0.3
