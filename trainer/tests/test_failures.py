"""What a failure is taken for, and when a step has diverged."""

from __future__ import annotations

import math

import pytest
import torch

from dream_trainer.classify import classify, is_lost_peer
from dream_trainer.divergence import check_divergence
from dream_trainer.doctor import check_product, examine
from dream_trainer.failures import TrainerFailure


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "OutOfMemory"),
        (RuntimeError("std::bad_alloc"), "OutOfMemory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "OutOfMemory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "HardwareFault"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "HardwareFault"),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp"), "HardwareFault"),
        (OSError(28, "No space left on device"), "DiskFull"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "DiskFull"),
        (KeyError("x"), "TrainerCrashed"),
    ],
)
def test_tells_failures_apart(error: Exception, kind: str) -> None:
    failure = classify(error, "train", 7, microBatchSize=8)
    assert (failure.kind, failure.step, failure.exit_code) == (kind, 7, 73 if kind == "DiskFull" else 1)
    assert failure.details["microBatchSize"] == 8 and failure.details["phase"] == "train"


def test_a_lost_peer_is_not_a_fault_of_its_own() -> None:
    assert is_lost_peer(RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer [127.0.0.1]:1"))
    assert not is_lost_peer(RuntimeError("shape mismatch"))


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_what_is_not_finite_has_diverged(loss: float, norm: float) -> None:
    with pytest.raises(TrainerFailure) as caught:
        check_divergence(3, [4, 5], loss, norm, [], None)
    assert (caught.value.kind, caught.value.step) == ("Diverged", 3)
    assert caught.value.details["rows"] == [4, 5]


def test_a_spike_stands_out_of_the_last_32_losses() -> None:
    recent = [2 + 0.01 * (number % 5) for number in range(40)]
    check_divergence(41, [], 2.1, 1.0, recent, 8)
    with pytest.raises(TrainerFailure, match="expected at most") as caught:
        check_divergence(41, [9], 2.3, 1.0, recent, 8)
    assert caught.value.details["reason"] == "spike"
    check_divergence(41, [], 99, 1.0, recent, None)
    check_divergence(31, [], 99, 1.0, recent[:31], 8)
    with pytest.raises(TrainerFailure):
        check_divergence(41, [], 3, 1.0, [2.0] * 32, 8)


def test_doctor_multiplies_rightly() -> None:
    assert check_product("cpu") == "right"
    assert examine()["ok"]
