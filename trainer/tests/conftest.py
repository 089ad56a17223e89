"""Every test runs on the CPU, as in CI, but those marked `gpu`. REVERIE_TEST_DEVICE=gpu shows the GPUs to all."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def device_of_the_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("gpu") or os.environ.get("REVERIE_TEST_DEVICE") == "gpu":
        return
    # For the processes that it starts, and for this one, whose CUDA may have begun with an earlier test.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
