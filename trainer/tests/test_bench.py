"""Each bench on a tiny model, as anyone runs it: what it tells is whole and makes sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dream_trainer.bench import checkpoint, limit, sample, train
from dream_trainer.bench.measuring import DREAM_7B
from dream_trainer.bench.train import flops_per_token
from dream_trainer.config import DreamConfig

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
    sizes = ["--sequence", "64", "--global-batch", "3", "--micro-batch", "2", "--repeats", "3", "--no-compile"]
    assert train.main(["--model", model, *sizes, "--recipe", "fp32", "--baseline", "--json", str(tmp_path / "o")]) == 0
    ours, least, plain = rows_of(tmp_path / "o")
    assert "limit" in least["name"] and "plain" in plain["name"]
    assert ours["tokensPerSecond"] == pytest.approx(3 * 64 / ours["medianSeconds"])


def test_the_limit_is_the_time_of_just_the_counted_work(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def flops_of(work: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
        with FlopCounterMode(display=False) as counter:
            work()
        return [float(counter.get_total_flops())] * repeats

    monkeypatch.setattr(limit, "seconds_of", flops_of)
    config, rows, places, masked_share = DreamConfig.load(Path(model)), 2, 64, 0.5
    (counted,) = limit.limit_seconds(config, rows, places, masked_share, torch.device("cpu"), 1)
    tokens = rows * places
    attention = 12 * config.num_hidden_layers * places * config.num_attention_heads * config.head_dim * tokens
    expected = flops_per_token(config, places, masked_share) * tokens
    # Torch computes attention's forward once more on its way back, and on a CPU may count none of it.
    assert expected - attention <= counted <= expected + attention / 2


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
