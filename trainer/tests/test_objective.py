"""Noise, weights, losses and gradients against the reference's."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dream_trainer.batches import Batch, apply_noise
from dream_trainer.gradients import accumulate_gradients
from dream_trainer.model import shift
from dream_trainer.objective import cart_weights, token_weights
from dream_trainer.weights import load_model

from .parity import WEIGHTINGS, batch_of
from .reference import REFERENCE, needs_reference, reference_cases, reference_json

pytestmark = needs_reference

CASES = reference_cases("loss_cases.json")
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
by_key = pytest.mark.parametrize("key", WEIGHTINGS)


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return load_file(REFERENCE / "loss.safetensors")


def loss_and_gradients(model: Any, batch: Batch, micro_batch_size: int, normalisation: str = "global") -> float:
    indices = list(range(len(batch.rows)))
    chunks = [indices[i : i + micro_batch_size] for i in range(0, len(indices), micro_batch_size)]
    return accumulate_gradients(model, batch, chunks, normalisation, micro_batches=len(chunks), autocast=False)


@by_case
@torch.no_grad()
def test_cross_entropy_at_every_visible_token(expected: dict[str, torch.Tensor], case: dict[str, Any]) -> None:
    model = load_model(REFERENCE, torch.float32, "cpu")
    batch = batch_of(case, "none", model.config.mask_token_id)
    logits = shift(model(batch.noised_ids_BS, batch.attention_BS, batch.positions_BS))
    loss = F.cross_entropy(logits.flatten(0, 1), batch.clean_ids_BS.flatten(), reduction="none")
    visible = torch.tensor(case["attention_mask"]).bool()
    # The first token behind left padding is read from a padding place, which holds no meaning.
    compared = visible & (shift(visible[..., None])[..., 0])
    reference = expected[f"{case['name']}.ce"]
    torch.testing.assert_close(loss.view_as(reference)[compared], reference[compared], atol=5e-5, rtol=0)


@by_case
@by_key
def test_weights(expected: dict[str, torch.Tensor], case: dict[str, Any], key: str) -> None:
    masked = torch.tensor(case["masked"]).bool()
    weighting, p = WEIGHTINGS[key]
    weights = token_weights(masked, torch.tensor(case["t"]), weighting, p)
    reference = expected[f"{case['name']}.weight.{key}"]
    assert weights.isfinite().all()
    torch.testing.assert_close(weights, torch.where(masked, reference, 0.0), atol=1e-6, rtol=0)


@by_case
@by_key
def test_loss_gradient_norm_and_gradients(expected: dict[str, torch.Tensor], case: dict[str, Any], key: str) -> None:
    model = load_model(REFERENCE, torch.float32, "cpu")
    result = case["results"][key]
    loss = loss_and_gradients(model, batch_of(case, key, model.config.mask_token_id), len(case["input_ids"]))
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    norm = torch.nn.utils.get_total_norm(list(grads.values())).item() if grads else 0.0
    if result["loss"] is None:
        # The reference divides by zero here; this trainer has no loss and no gradient, or the other rows' alone.
        assert numpy.isfinite(loss) and numpy.isfinite(norm)
        assert bool(case["masked_count"]) or (loss, norm) == (0.0, 0.0)
        return
    assert loss == pytest.approx(result["loss"], rel=1e-5)
    assert norm == pytest.approx(result["grad_norm"], rel=1e-5)
    frozen = grads["model.embed_tokens.weight"][model.config.pad_token_id]
    assert not frozen.any(), "the pad row has no gradient"
    for name in reference_json("loss_cases.json")["gradient_parameters"]:
        gradient = grads[name.removesuffix("[mask]")]
        if name.endswith("[mask]"):
            gradient = gradient[model.config.mask_token_id]
        reference = expected[f"{case['name']}.grad.{key}.{name}"]
        torch.testing.assert_close(gradient, reference, atol=1e-4 * reference.abs().max().item(), rtol=0)


@by_key
def test_mean_of_micro_batch_means(key: str) -> None:
    case = next(case for case in CASES if case["name"] == "right_padded")
    model = load_model(REFERENCE, torch.float32, "cpu")
    loss = loss_and_gradients(model, batch_of(case, key, model.config.mask_token_id), 1, "micro-batch-means")
    expected = reference_json("loss_cases.json")["mean_of_micro_batch_means_right_padded_micro_batch_1"][key]
    assert loss == pytest.approx(expected, rel=1e-5)


@by_key
def test_global_normalisation_does_not_depend_on_the_micro_batch(key: str) -> None:
    case = next(case for case in CASES if case["name"] == "left_padded")
    results = []
    for size in (1, 2, 3):
        model = load_model(REFERENCE, torch.float32, "cpu")
        loss = loss_and_gradients(model, batch_of(case, key, model.config.mask_token_id), size)
        results.append((loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])))
    for loss, grad in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-6)
        assert (grad - results[0][1]).norm() <= 1e-5 * results[0][1].norm()


def test_noise_masks_the_references_tokens(expected: dict[str, torch.Tensor]) -> None:
    mask_token_id = reference_json("config.json")["mask_token_id"]
    plain = [case for case in reference_json("loss_cases.json")["q_sample"] if not case["treat_eos_as_one"]]
    assert plain
    for case in plain:
        masked = apply_noise(
            numpy.array(case["loss_mask"], bool),
            numpy.array(case["t"], numpy.float32),
            expected[f"q_sample.{case['name']}.u"].numpy(),
        )
        assert masked.tolist() == numpy.array(case["masked"], bool).tolist()
        assert numpy.where(masked, mask_token_id, case["input_ids"]).tolist() == case["noised_ids"]


def test_cart_is_the_references_row_of_the_matrix(expected: dict[str, torch.Tensor]) -> None:
    rows = {name: row for name, row in expected.items() if name.startswith("cart_row.p")}
    assert rows
    for name, row in rows.items():
        for unmasked in range(len(row)):
            masked = torch.ones(1, len(row), dtype=torch.bool)
            masked[0, unmasked] = False
            weight = cart_weights(masked, float(name.removeprefix("cart_row.p")))[0, 0]
            assert abs(weight - row[unmasked]) <= 1e-6


def test_cart_equals_the_full_matrix_on_a_long_row() -> None:
    masked = torch.rand(2, 700, generator=torch.Generator().manual_seed(3)) < 0.9
    for p in (0.01, 0.1, 0.5, 0.99):
        distance = (torch.arange(700)[:, None] - torch.arange(700)[None]).abs().double()
        matrix = (0.5 * p * (1 - p) ** (distance - 1)).fill_diagonal_(0)
        full = torch.where(masked, (~masked).double() @ matrix, 0.0)
        torch.testing.assert_close(cart_weights(masked, p), full.float(), atol=1e-7, rtol=1e-6)
