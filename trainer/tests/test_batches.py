"""Training data as a pure function: order, cutoffs and noise."""

from __future__ import annotations

import numpy
import pytest
import torch

from dream_trainer.batches import Batch, TrainingBatches
from dream_trainer.config import DreamConfig
from dream_trainer.data import Row
from dream_trainer.noise import uniforms, words
from dream_trainer.spec import ObjectiveSpec

GOLDEN = [4197087623300854447, 3339914465849773615]

CONFIG = DreamConfig.parse(
    {"vocab_size": 50, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    | {"max_position_embeddings": 64, "mask_token_id": 49, "pad_token_id": 48, "eos_token_id": 48}
)
ROWS = [Row(str(n), numpy.arange(n % 3 + 1), numpy.append(numpy.arange(n % 5), 48)) for n in range(11)]


def batches(size: int = 4, seed: int = 1, **objective: object) -> TrainingBatches:
    spec = ObjectiveSpec(**objective)
    return TrainingBatches(ROWS, CONFIG, spec, seed=seed, global_batch_size=size, max_tokens=12)


def test_every_row_is_seen_once_an_epoch_in_another_order() -> None:
    made = batches()
    epochs = [[row for step in steps for row in made.row_numbers(step)] for steps in ((1, 2, 3), (4, 5, 6))]
    assert [len(made.row_numbers(step)) for step in (1, 2, 3)] == [4, 4, 3]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(11))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("cutoff", ["none", "random", "random_with_input_pad"])
def test_a_batch_depends_on_its_step_alone(cutoff: str) -> None:
    made = batches(cutoff=cutoff)
    forwards = [made.batch(step) for step in range(1, 10)]
    for step, batch in zip(range(9, 0, -1), reversed(forwards), strict=True):
        again = batches(cutoff=cutoff).batch(step)
        assert again.rows == batch.rows
        assert torch.equal(again.noised_ids_BS, batch.noised_ids_BS)
        assert torch.equal(again.weights_BS, batch.weights_BS)


def test_a_rows_noise_does_not_depend_on_its_batch() -> None:
    def noise(made: TrainingBatches) -> dict[int, list[bool]]:
        seen = {}
        for step in range(1, made.steps_per_epoch + 1):
            batch = made.batch(step)
            for line, row in enumerate(batch.rows):
                start = len(ROWS[row].prompt_ids)
                seen[row] = batch.masked_BS[line, start:].tolist()
        return seen

    assert noise(batches(2, cutoff="none")) == noise(batches(5, cutoff="none"))


def test_another_seed_or_epoch_gives_other_noise_and_order() -> None:
    whole = batches(len(ROWS), cutoff="none")  # One batch is one epoch.

    def by_row(batch: Batch) -> list[list[bool]]:
        return [batch.masked_BS[batch.rows.index(row)].tolist() for row in range(len(ROWS))]

    first, second = whole.batch(1), whole.batch(2)
    other = batches(len(ROWS), seed=2, cutoff="none").batch(1)
    assert first.rows != second.rows and first.rows != other.rows
    assert by_row(first) != by_row(second) and by_row(first) != by_row(other)


def test_noise_never_changes_between_versions() -> None:
    """Golden words: another value here would silently change every training run."""
    assert [int(word) for word in words(2, 42, "noise", 0, 7)] == GOLDEN
    drawn = uniforms(10000, 3, "t")
    assert drawn.min() >= 0 and drawn.max() < 1 and abs(drawn.mean() - 0.5) < 0.02


def test_every_masked_token_is_in_a_response_and_carries_the_mask_token() -> None:
    made = batches()
    for step in range(1, 13):
        batch = made.batch(step)
        assert (batch.noised_ids_BS[batch.masked_BS] == CONFIG.mask_token_id).all()
        assert torch.equal(batch.noised_ids_BS[~batch.masked_BS], batch.clean_ids_BS[~batch.masked_BS])
        assert batch.masked_tokens == int(batch.masked_BS.sum())
        for line, row in enumerate(batch.rows):
            if batch.attention_BS is not None:
                start = int((~batch.attention_BS[line]).sum()) + len(ROWS[row].prompt_ids)
                assert not batch.masked_BS[line, :start].any()
