"""Compiled kernels in a file, by real processes on the CPU: made ahead of the weights, and found by a training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dream_trainer.kernels import load_kernels

from .reference import REPOSITORY
from .tiny import make_data, make_inputs, make_spec, train


def test_what_was_compiled_ahead_of_the_weights_serves_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(tmp_path / "inputs")
    make_data(inputs / "train.parquet", 8)  # Two batches of one size, and all rows of one length: few graphs.
    spec = make_spec(inputs, compile="on", maxSteps=1, validationData=None, objective={"cutoff": "none"})
    kernels = tmp_path / "kernels"
    # A host whose weights are on their way.
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (bare / name).symlink_to(inputs / "base" / name)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiler"))
    (tmp_path / "spec.json").write_text(json.dumps(spec | {"model": str(bare)}))
    command = [sys.executable, "-m", "dream_trainer", "precompile", "--spec", str(tmp_path / "spec.json")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer")}
    told = subprocess.run([*command, "--kernels", str(kernels)], env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    made = kernels.read_bytes(), kernels.stat().st_mtime_ns

    # Another host, whose compiler has nothing of its own.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "other-compiler"))
    train(spec, tmp_path / "run", kernels=kernels)
    assert (kernels.read_bytes(), kernels.stat().st_mtime_ns) == made, "nothing was compiled that the file lacked"


@pytest.mark.parametrize("damaged", [b"no kernels", b""], ids=["other bytes", "empty"])
def test_a_damaged_file_is_told_and_costs_only_the_compiling(
    tmp_path: Path, damaged: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = tmp_path / "kernels"
    assert not load_kernels(kernels)
    assert capsys.readouterr().err == ""
    kernels.write_bytes(damaged)
    assert not load_kernels(kernels)
    assert f"{kernels} is no file of compiled kernels" in capsys.readouterr().err
