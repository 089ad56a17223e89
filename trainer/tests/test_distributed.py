"""Ranks whose devices are not alike, in real processes that take theirs for other ones."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .reference import REPOSITORY
from .tiny import events_of, make_inputs, make_spec, of_type

RANK = """
import os, sys
from dream_trainer import loop, train
rank = int(os.environ["RANK"])
loop.{name} = lambda device: {values}[rank]
sys.exit(train.main(["--spec", sys.argv[1], "--run-dir", sys.argv[2]]))
"""
CASES: dict[str, tuple[str, list[Any], str, str]] = {
    "two models of GPU": (
        "device_name",
        ["NVIDIA H100", "NVIDIA A100"],
        "HardwareFault",
        "the devices of 2 ranks: found NVIDIA H100 (rank 0), NVIDIA A100 (rank 1); expected one model of GPU",
    ),
    "one has less memory": ("gpu_memory_bytes", [80 * 2**30, 2**30], "OutOfMemory", "found a GPU of 1.0 GiB; expected"),
}


@pytest.mark.parametrize("case", CASES)
def test_ranks_whose_devices_differ_end_alike_before_anything_is_loaded(tmp_path: Path, case: str) -> None:
    name, values, kind, told = CASES[case]
    (tmp_path / "spec.json").write_text(json.dumps(make_spec(make_inputs(tmp_path / "inputs"))))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer"), "WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", RANK.format(name=name, values=values), str(tmp_path / "spec.json"), str(tmp_path)]
    ranks = [subprocess.Popen(command, env=environment | {"RANK": str(rank)}) for rank in range(2)]
    assert [rank.wait(timeout=60) for rank in ranks] == [1, 1]
    incidents = of_type(events_of(tmp_path), "incident")
    assert [incident["kind"] for incident in incidents] == [kind] * 2
    assert all(told in incident["message"] for incident in incidents)
