"""`export`: a folder to hand on, byte for byte the same, and without code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dream_trainer.config import DreamConfig
from dream_trainer.export import main
from dream_trainer.tokenizer import Tokenizer
from dream_trainer.weights import load_model, weights_sha256

from .tiny import make_model

REPORT = {
    "spec": {
        "train": {
            "epochs": 3, "globalBatchSize": 16, "seed": 42,
            "objective": {"weighting": "cart", "cutoff": "random"}, "optimizer": {"learningRate": 2e-6},
        },
        "filter": {"maxTokens": 2048},
    },
    "sources": {
        "model": {"source": "hf://o/base@main", "revision": "abc"},
        "dataset": {"source": "hf://o/rows", "revision": "def"},
    },
    "summaries": {
        "filter": {"train": {"kept": 900}},
        "train": {"steps": 171, "recipe": "full-bf16-sr", "validationLoss": 0.25},
        "evalBase": {"correct": 3, "incorrect": 7}, "evalTuned": {"correct": 5, "incorrect": 5},
    },
}  # fmt: skip


def test_exports_the_same_bytes_twice_and_what_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path / "model")
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    for name in ("one", "two"):
        arguments = ["--model", str(model), "--to", str(tmp_path / name), "--report", str(tmp_path / "report.json")]
        assert main(arguments) == 0
    names = ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    files = {
        name: sorted((path.name, path.read_bytes()) for path in (tmp_path / name).iterdir()) for name in ("one", "two")
    }
    assert files["one"] == files["two"] and [name for name, _ in files["one"]] == names
    tensors = load_file(tmp_path / "one" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    told = json.loads(capsys.readouterr().out.splitlines()[0])
    assert told["weightsSha256"] == weights_sha256(tensors)
    config = DreamConfig.load(tmp_path / "one")
    assert config.torch_dtype == "bfloat16"
    load_model(tmp_path / "one", torch.bfloat16, "cpu")
    Tokenizer.load(tmp_path / "one", config)
    auto_map = json.loads((tmp_path / "one" / "config.json").read_text())["auto_map"]
    assert all("--" in place for place in auto_map.values()), "code stays in the repository that has it"
    card = (tmp_path / "one" / "README.md").read_text()
    for fact in (
        'license: "apache-2.0"',
        'base_model: ["o/base"]',
        "o/rows at def, 900",
        "3 of 10",
        "5 of 10",
        "full-bf16-sr",
    ):
        assert fact in card, fact
    assert main(["--model", str(model), "--to", str(tmp_path / "one")]) == 2
    assert "a folder that exists" in capsys.readouterr().err
