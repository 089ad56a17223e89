"""Each bench on a tiny model, as anyone runs it: what it tells is whole and makes sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dream_trainer.bench import checkpoint, sample, train
from dream_trainer.bench.measuring import DREAM_7B
from dream_trainer.bench.train import flops_per_token

from .tiny import make_model


@pytest.fixture
def model(tmp_path: Path):
    yield str(make_model(tmp_path / "model"))
    torch.use_deterministic_algorithms(False)


def rows_of(file: Path) -> list[dict]:
    told = json.loads(file.read_text())
    assert told["device"] and told["versions"]["torch"] == torch.__version__
    return told["rows"]


def test_training_is_measured_beside_its_limit_and_the_plain_recipe(model: str, tmp_path: Path) -> None:
    sizes = ["--sequence", "64", "--global-batch", "3", "--micro-batch", "2", "--repeats", "15", "--no-compile"]
    assert train.main(["--model", model, *sizes, "--recipe", "fp32", "--baseline", "--json", str(tmp_path / "o")]) == 0
    ours, limit, plain = rows_of(tmp_path / "o")
    assert "limit" in limit["name"] and "plain" in plain["name"]
    assert ours["tokensPerSecond"] == pytest.approx(3 * 64 / ours["medianSeconds"])
    # Of the fastest each: a busy machine takes some ms from either.
    fastest = [row["tokensPerSecond"] * row["medianSeconds"] / row["minSeconds"] for row in (limit, ours)]
    assert fastest[0] > fastest[1], "nothing is faster than its products alone"


def test_generation_is_measured_exact_and_cached_beside_the_plain_loop(model: str, tmp_path: Path) -> None:
    sizes = ["--prompt", "8", "--new-tokens", "64", "--batch", "2", "--tokens-per-step", "4", "--repeats", "1"]
    assert sample.main(["--model", model, *sizes, "--refresh", "2", "--json", str(tmp_path / "o")]) == 0
    names = [row["name"] for row in rows_of(tmp_path / "o")]
    assert [name.split(",")[0] for name in names] == ["plain loop", "exact", "cached"]


def test_a_checkpoint_is_measured_from_standstill_to_restored(tmp_path: Path) -> None:
    assert checkpoint.main([str(tmp_path / "saves"), "--gigabytes", "0.01", "--json", str(tmp_path / "o")]) == 0
    _, first, second, restore = rows_of(tmp_path / "o")
    assert 0 < first["stallSeconds"] < first["seconds"] and second["seconds"] > 0
    assert 0 < restore["verifySeconds"] < restore["seconds"]


def test_counts_the_operations_of_dream_7b_as_measured_elsewhere() -> None:
    """13,012 tokens/s were 57 % of 989 TFLOP/s, half of the tokens masked."""
    assert 13_012 * flops_per_token(DREAM_7B, 2048, 0.5) / 989e12 == pytest.approx(0.57, abs=0.005)
