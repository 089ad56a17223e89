"""The validation loss: a row's noise is its own, and batches do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from dream_trainer.data import Row
from dream_trainer.distributed import Ranks
from dream_trainer.failures import Preempted
from dream_trainer.model import DreamModel
from dream_trainer.spec import ObjectiveSpec
from dream_trainer.validation import validation_loss
from dream_trainer.weights import load_model

from .tiny import make_model

ROWS = [Row(str(n), numpy.arange(1 + n % 3), numpy.append(numpy.arange(4 + n % 4), 256)) for n in range(7)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DreamModel:
    folder: Path = make_model(tmp_path_factory.mktemp("model") / "base", initializer_range=0.3)
    return load_model(folder, torch.float32, "cpu")


def loss(model: DreamModel, rows: list[Row], batch_size: int, preempted: bool = False, seed: int = 5) -> float:
    ranks = Ranks(0, 1, torch.device("cpu"))
    return validation_loss(
        model,
        rows,
        ObjectiveSpec(),
        seed=seed,
        batch_size=batch_size,
        ranks=ranks,
        autocast=False,
        preempted=lambda: preempted,
    )


def test_does_not_depend_on_the_batch_size(model: DreamModel) -> None:
    expected = loss(model, ROWS, 1)
    assert expected > 0
    for size in (2, 3, 7, 100):
        assert loss(model, ROWS, size) == pytest.approx(expected, rel=1e-5)


def test_each_row_has_noise_of_its_own_that_never_changes(model: DreamModel) -> None:
    assert loss(model, ROWS, 4) == loss(model, ROWS, 4) != loss(model, ROWS, 4, seed=6)
    assert loss(model, [ROWS[0]] * 4, 4) != pytest.approx(loss(model, [ROWS[0]], 4), rel=1e-3)


def test_stops_when_preempted(model: DreamModel) -> None:
    with pytest.raises(Preempted):
        loss(model, ROWS, 4, preempted=True)
