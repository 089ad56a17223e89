"""Parity with the public sampler, and what ours promises beyond it: rows on their own, keyed draws, no wasted work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dream_trainer import cached_sampler
from dream_trainer.cached_sampler import sample_cached
from dream_trainer.config import DreamConfig
from dream_trainer.failures import TrainerFailure
from dream_trainer.model import DreamModel, initialise
from dream_trainer.sampler import (
    SamplerSettings,
    confidence,
    draw_tokens,
    keyed_noise,
    pad_left,
    processed_probabilities,
    sample,
)
from dream_trainer.weights import load_model

from .parity import no_noise, settings_of, supplied_noise

REFERENCE = Path(os.environ.get("REVERIE_REFERENCE", Path(__file__).parents[3] / "shared/data/reference"))
HAS_REFERENCE = (REFERENCE / "sampler_cases.json").exists()
needs_reference = pytest.mark.skipif(not HAS_REFERENCE, reason=f"no reference at {REFERENCE}; set REVERIE_REFERENCE")
CASES = json.loads((REFERENCE / "sampler_cases.json").read_text()) if HAS_REFERENCE else {"cases": [], "tokens": []}
ALGORITHMS = ["origin", "maskgit_plus", "topk_margin", "entropy"]


@pytest.fixture(scope="module")
def stored() -> dict[str, torch.Tensor]:
    return load_file(REFERENCE / "sampler.safetensors")


@pytest.fixture(scope="module")
def reference_model() -> DreamModel:
    return load_model(REFERENCE, torch.float32, "cpu")


@pytest.fixture(scope="module")
def model() -> DreamModel:
    config = DreamConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, max_position_embeddings=256, mask_token_id=96, pad_token_id=95, eos_token_id=95,
        initializer_range=0.3, rms_norm_eps=1e-6, rope_theta=1e4, tie_word_embeddings=False, torch_dtype="float32",
    )  # fmt: skip
    model = DreamModel(config)
    initialise(model, torch.Generator().manual_seed(5))
    return model


@needs_reference
@pytest.mark.parametrize(
    "case", [case for case in CASES["cases"] if case["name"] != "quirk.unequal_masks"], ids=lambda c: c["name"]
)
def test_gives_the_public_samplers_sequence_history_and_confidence(case, stored, reference_model):
    mask_id = reference_model.config.mask_token_id
    visible = case["attention_mask"] and torch.tensor(case["attention_mask"])
    noise = supplied_noise(case, stored, mask_id) if case["settings"]["alg"] == "origin" else no_noise
    steps = []
    samples = sample(
        reference_model,
        torch.tensor(case["input_ids"]),
        visible,
        settings_of(case),
        noise,
        steps.append,
        forbid_mask=False,
        eps=case["settings"]["eps"],
    )
    assert samples.sequences_BS.tolist() == case["sequences"]
    history = torch.stack([step.sequences_BS for step in steps])
    assert torch.equal(history, stored[f"{case['name']}.history"].long())
    for step in steps:
        if step.confidence_BS is not None:
            expected = stored[f"{case['name']}.confidence"][step.step]
            torch.testing.assert_close(step.confidence_BS, expected, atol=1e-4, rtol=0)
    by_step = [int((samples.reveal_steps_BS == step).sum()) for step in range(len(steps))]
    if not case["reference_quirk"]:
        rows = 1 if case["settings"]["alg"] == "origin" else len(case["input_ids"])
        assert by_step == [count * rows for count in case["transferred_per_step"]]


@needs_reference
@pytest.mark.parametrize("case", [case for case in CASES["cases"] if case["reference_quirk"]], ids=lambda c: c["name"])
def test_reveals_no_mask_and_finishes_rows_of_unequal_masks_where_the_public_sampler_does_not(case, reference_model):
    mask_id = reference_model.config.mask_token_id
    prompts = torch.tensor(case["input_ids"])
    assert any(mask_id in row for row in case["sequences"])
    together = sample(reference_model, prompts, None, settings_of(case), no_noise).sequences_BS
    assert not (together == mask_id).any()
    given = prompts != mask_id
    assert torch.equal(together[:, : prompts.shape[1]][given], prompts[given])
    for row, prompt in enumerate(prompts):
        alone = sample(reference_model, prompt[None], None, settings_of(case), no_noise).sequences_BS[0]
        assert torch.equal(together[row], alone)


@needs_reference
@pytest.mark.parametrize("case", CASES["tokens"], ids=lambda case: case["name"])
def test_gives_the_public_token_distribution_and_confidences(case, stored):
    logits = stored["tokens.logits"]
    probabilities = processed_probabilities(logits, case["temperature"], case["top_p"], case["top_k"])
    torch.testing.assert_close(probabilities, stored[f"tokens.{case['name']}.probs"], atol=1e-6, rtol=1e-5)
    assert probabilities.argmax(dim=-1).tolist() == case["argmax"]
    assert (probabilities > 0).sum(dim=-1).tolist() == case["kept"]
    for algorithm in ("maskgit_plus", "topk_margin", "entropy"):
        expected = stored[f"tokens.{case['name']}.{algorithm}"]
        torch.testing.assert_close(confidence(probabilities, algorithm), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("algorithm_temperature", [0.0, 0.5])
def test_a_rows_text_does_not_depend_on_its_batch_mates(model, algorithm, temperature, algorithm_temperature):
    prompts = [[5, 6, 7], [8, 96, 10, 11, 12, 13, 14], [20, 21, 22, 23], [96, 31]]
    names = ["a", "b", "c", "d"]
    settings = SamplerSettings(algorithm, 12, 7, temperature, algorithm_temperature=algorithm_temperature)
    together = sample(model, *pad_left(prompts, 95), settings, keyed_noise(3, names))
    for row, prompt in enumerate(prompts):
        alone = sample(model, *pad_left([prompt], 95), settings, keyed_noise(3, [names[row]]))
        length = len(prompt) + 12
        assert torch.equal(together.sequences_BS[row, -length:], alone.sequences_BS[0])
        assert torch.equal(together.reveal_steps_BS[row, -length:], alone.reveal_steps_BS[0])


def test_another_seed_id_or_step_draws_other_numbers_and_the_same_ones_the_same():
    noise = keyed_noise(1, ["x", "y"])
    first = noise(0, 0, "token", 8)
    assert np.array_equal(first, keyed_noise(1, ["z", "x"])(1, 0, "token", 8))
    assert np.array_equal(first[:3], noise(0, 0, "token", 3))
    others = [
        noise(1, 0, "token", 8),
        noise(0, 1, "token", 8),
        noise(0, 0, "place", 8),
        keyed_noise(2, ["x"])(0, 0, "token", 8),
    ]
    assert not any(np.array_equal(first, other) for other in others)


def test_tokens_are_drawn_from_the_processed_distribution():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 700, generator=generator) * 2
    probabilities = processed_probabilities(logits, 0.7, 0.95, 40)
    uniforms = torch.from_numpy(keyed_noise(0, ["χ²"])(0, 0, "token", 40_000))
    drawn = draw_tokens(probabilities.expand(40_000, -1), uniforms)
    observed = torch.bincount(drawn, minlength=700).double()
    kept = probabilities[0] > 0
    assert observed[~kept].sum() == 0
    expected = probabilities[0, kept].double() * 40_000 / probabilities[0, kept].double().sum()
    statistic = ((observed[kept] - expected) ** 2 / expected).sum().item()
    freedom = int(kept.sum()) - 1
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5, (statistic, freedom)


def test_never_draws_a_token_without_probability_at_the_ends_of_the_range():
    probabilities = torch.zeros(3, 600)
    probabilities[:, [10, 300, 511]] = torch.tensor([0.2, 0.5, 0.3])
    drawn = draw_tokens(probabilities, torch.tensor([0.0, 0.5, 1 - 1e-16], dtype=torch.float64))
    assert drawn.tolist() == [10, 300, 511]


def test_rounding_at_the_upper_end_draws_the_last_token_that_has_probability():
    logits = torch.randn(3000, 300, generator=torch.Generator().manual_seed(0)) * 9
    logits[:, 200:] = -torch.inf
    logits[:, 190:200] = 0
    probabilities = logits.softmax(dim=-1)
    drawn = draw_tokens(probabilities, torch.full((3000,), 1 - 2.0**-53, dtype=torch.float64))
    assert drawn.max() <= 199


def test_places_are_drawn_from_the_softmax_of_confidence_over_the_algorithm_temperature(model):
    steps = []
    repeats = 4000
    prompts = torch.tensor([[5, 6, 7]]).expand(repeats, -1)
    settings = SamplerSettings("entropy", 5, 4, 0.0, algorithm_temperature=0.4)
    samples = sample(model, prompts, None, settings, keyed_noise(0, [str(n) for n in range(repeats)]), steps.append)
    first = (samples.reveal_steps_BS[:, 3:] == 0).int()
    assert first.sum(dim=1).eq(1).all()
    expected = (steps[0].confidence_BS[0, 3:].double() / 0.4).softmax(dim=0) * repeats
    statistic = ((first.sum(dim=0) - expected) ** 2 / expected).sum().item()
    assert statistic < 18.5, (statistic, expected)  # χ² of 4 degrees of freedom, 0.1 %


def test_takes_equal_confidences_in_order_of_place(model):
    flat = DreamModel(model.config)
    with torch.no_grad():
        for parameter in flat.parameters():
            parameter.zero_()
    samples = sample(flat, torch.tensor([[1, 2]]), None, SamplerSettings("maskgit_plus", 8, 4, 0.0), no_noise)
    revealed = samples.reveal_steps_BS[0, 2:].tolist()
    assert revealed == sorted(revealed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_step_that_reveals_nothing_costs_no_forward_pass(model, algorithm, monkeypatch):
    calls = []
    hidden = model.hidden
    monkeypatch.setattr(model, "hidden", lambda *given: calls.append(1) or hidden(*given))
    samples = sample(model, torch.tensor([[1, 2]]), None, SamplerSettings(algorithm, 4, 40, 0.0), keyed_noise(0, ["x"]))
    assert len(calls) == len(set(samples.reveal_steps_BS[0, 2:].tolist())) <= 4


def test_computes_logits_only_at_masked_places(model, monkeypatch):
    sizes = []
    head = model.head
    monkeypatch.setattr(model, "head", lambda hidden: sizes.append(len(hidden)) or head(hidden))
    sample(model, torch.tensor([[1, 2, 3, 4]]), None, SamplerSettings("entropy", 6, 3, 0.0), no_noise)
    assert sizes[0] == 6 and max(sizes) == 6


CACHED = {"mode": "cached", "block_length": 8, "max_new_tokens": 24, "steps": 12}


@pytest.mark.parametrize("changes", [{}, {"refresh_every_blocks": 2}, {"threshold": 0.3}, {"temperature": 0.7}])
@pytest.mark.parametrize("algorithm", ["maskgit_plus", "entropy"])
def test_a_cached_text_does_not_depend_on_its_batch_mates(model, algorithm, changes):
    settings = SamplerSettings(algorithm=algorithm, **{**CACHED, "temperature": 0.0, **changes})
    prompts = [[5], [7, 8, 9, 10, 11], [3, 4, 96, 6]]
    prompts_BS, visible_BS = pad_left(prompts, 95)
    together = sample_cached(model, prompts_BS, visible_BS, settings, keyed_noise(1, ["a", "b", "c"]))
    assert not (together.sequences_BS == 96).any()
    for row, (prompt, id) in enumerate(zip(prompts, "abc", strict=True)):
        alone = sample_cached(model, torch.tensor([prompt]), None, settings, keyed_noise(1, [id]))
        assert alone.sequences_BS[0].tolist() == together.sequences_BS[row, 5 - len(prompt) :].tolist()
        steps = together.reveal_steps_BS[row, 5 - len(prompt) :]
        assert alone.reveal_steps_BS[0].tolist() == steps.tolist()
    if "threshold" not in changes:
        blocks = together.reveal_steps_BS[:, 5:].unflatten(1, (3, 8))
        assert [blocks[:, n].unique().tolist() for n in range(3)][1:] == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_one_block_in_one_step_is_what_the_exact_sampler_gives(model):
    settings = SamplerSettings(max_new_tokens=12, steps=1, temperature=0.0, block_length=12)
    prompts_BS, visible_BS = pad_left([[5], [7, 8, 9]], 95)
    exact = sample(model, prompts_BS, visible_BS, settings, keyed_noise(1, ["a", "b"]))
    cached = sample_cached(model, prompts_BS, visible_BS, settings, keyed_noise(1, ["a", "b"]))
    assert cached.sequences_BS.tolist() == exact.sequences_BS.tolist()


def test_the_cached_sampler_computes_only_open_places_within_a_block(model, monkeypatch):
    computed: list[int] = []
    real = cached_sampler._before
    monkeypatch.setattr(cached_sampler, "_before", lambda b, x, *a: (computed.append(x.shape[1]), real(b, x, *a))[1])
    settings = SamplerSettings(**{**CACHED, "temperature": 0.0, "refresh_every_blocks": 3})
    sample_cached(model, torch.tensor([[5, 6]]), None, settings, keyed_noise(1, ["a"]))
    turns = computed[::2]
    assert turns[0] == 26, "everything at the first block"
    assert turns[4] == turns[8] == 17, "a block, the one before it, and the place that predicts its first"
    assert max(turns[1:4] + turns[5:8] + turns[9:]) <= 8


def test_the_cached_sampler_refuses_an_algorithm_without_confidences(model):
    with pytest.raises(TrainerFailure, match="confidences"):
        sample_cached(model, torch.tensor([[5]]), None, SamplerSettings(algorithm="origin"), keyed_noise(1, ["a"]))
