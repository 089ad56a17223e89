"""Recipes: stochastic rounding by keyed bits, 8-bit moments, adapters; each is killed and resumed to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dream_trainer.checkpoint import open_checkpoint
from dream_trainer.quantised import decode_first, decode_second, encode_first, encode_second
from dream_trainer.rounded_adamw import RoundedAdamW
from dream_trainer.rounding import low_half, random_bits, round_to_bf16, step_key
from dream_trainer.spec import OptimizerSpec

from .tiny import killed, make_inputs, make_spec, newest, of_type, resume, saved_steps, seen, train_here

FULL = ("full-fp32", "full-bf16-sr", "full-bf16-sr-8bit")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def key(seed: int, step: int, parameter: int, start: int = 0) -> Tensor:
    return torch.tensor([*step_key(seed, step, parameter), start], dtype=torch.int32)


def test_random_bits_are_uniform_keyed_and_independent_of_how_a_tensor_is_cut() -> None:
    bits = random_bits(key(1, 2, 3), 2**18)
    for half in (bits & 0xFFFF, (bits >> 16) & 0xFFFF):
        counts = torch.bincount(half >> 8, minlength=256).double()
        expected = 2**18 / 256
        assert ((counts - expected) ** 2 / expected).sum() < 342, "χ² of 255 degrees of freedom, 0.02 %"
    neighbours = torch.corrcoef(torch.stack([low_half(bits[:-1]), low_half(bits[1:])]).double())[0, 1]
    assert abs(neighbours) < 0.01
    for other in (key(0, 2, 3), key(1, 3, 3), key(1, 2, 4)):
        assert (random_bits(other, 2**18) == bits).sum() < 5
    assert torch.equal(random_bits(key(1, 2, 3, 1000), 500), bits[1000:1500])


def test_rounding_keeps_the_mean_and_what_bf16_holds() -> None:
    for value in (0.02 + 2e-6, -1.2345678, 3e-30):
        rounded = round_to_bf16(torch.full((2**18,), value), low_half(random_bits(key(0, 0, 0), 2**18)))
        assert len(rounded.unique()) == 2
        assert rounded.double().mean().item() == pytest.approx(value, rel=3e-5)
    exact = torch.tensor([0.0, -0.0, 1.5, -(2.0**-130), 3e38]).bfloat16()
    assert torch.equal(round_to_bf16(exact.float(), torch.full((5,), 0xFFFF, dtype=torch.int32)), exact)


def test_8_bit_moments_keep_the_mean_and_never_lose_the_second() -> None:
    generator = torch.Generator().manual_seed(0)
    m = torch.randn(64, 256, generator=generator) * torch.logspace(-12, 2, 64)[:, None]
    v = m.square()
    for x, encode, decode in ((m, encode_first, decode_first), (v, encode_second, decode_second)):
        mean = torch.zeros_like(x, dtype=torch.float64)
        for draw in range(400):
            bits = low_half(random_bits(key(draw, 0, 0), x.numel())).view_as(x)
            codes, scale = encode(x, bits)
            mean += decode(codes, scale).double() / 400
        one_step = x.abs() * (0.04 if x is v else 0.02) + x.abs().amax(dim=1, keepdim=True) * 3e-4
        assert ((mean - x.double()).abs() < one_step).all()
    v[:, 0] = v.amax(dim=1) * 1e-12
    codes, scale = encode_second(v, torch.full_like(v, 65535))
    assert (decode_second(codes, scale)[v > 0] > 0).all()
    zeros, scale = encode_first(torch.zeros(2, 256), torch.zeros(2, 256))
    assert not decode_first(zeros, scale).any()


@pytest.mark.parametrize("is_8bit", [False, True])
def test_updates_follow_adamw_in_the_mean(is_8bit: bool) -> None:
    """Of many equal weights each takes its own random steps; their mean is the formula's weight."""
    spec = OptimizerSpec(learning_rate=1, weight_decay=0.2)
    model = nn.Linear(1, 2000, bias=True).to(torch.bfloat16)
    nn.init.constant_(model.weight, 0.02)
    nn.init.constant_(model.bias, 0.02)
    optimizer = RoundedAdamW(model, spec, seed=3, is_8bit=is_8bit)
    expected = 0.02
    first = second = 0.0
    for step in range(1, 31):
        grad = 0.5 if step % 3 else -0.25
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, grad)
        optimizer.update(step, 1e-5)
        first, second = 0.9 * first + 0.1 * grad, 0.95 * second + 0.05 * grad**2
        update = first / (1 - 0.9**step) / ((second / (1 - 0.95**step)) ** 0.5 + 1e-8)
        expected = expected * (1 - 1e-5 * 0.2) - 1e-5 * update
    assert model.weight.detach().unique().numel() > 1
    for parameter in model.parameters():
        moved = 0.02 - parameter.detach().double().mean().item() - (0.02 - float(torch.tensor(0.02).bfloat16()))
        assert moved == pytest.approx(0.02 - expected, rel=0.1)
    assert not torch.equal(model.weight.flatten(), model.bias), "two parameters draw different bits"


@pytest.mark.parametrize("recipe", ["full-bf16-sr", "full-bf16-sr-8bit", "lora"])
def test_killed_and_resumed_gives_the_same_weights_to_the_bit(inputs: Path, tmp_path: Path, recipe: str) -> None:
    spec = make_spec(inputs, recipe=recipe, epochs=5)
    undisturbed = train_here(spec, tmp_path / "undisturbed")
    assert of_type(undisturbed, "plan")[0]["recipe"] == recipe
    killed(spec, tmp_path / "killed", 1, seen(2, type="checkpoint"), after_seconds=0.005)
    # `auto` goes on with what was begun.
    going = resume(spec | {"recipe": "auto"}, newest(tmp_path / "killed"))
    last = train_here(going, tmp_path / "last")
    assert of_type(last, "plan")[0]["fromStep"] > 0
    assert last[-1]["weightsSha256"] == undisturbed[-1]["weightsSha256"]
    tuned = load_file(Path(last[-1]["path"]) / "model.safetensors")
    base = load_file(inputs / "base" / "model.safetensors")
    assert tuned.keys() == base.keys()
    if recipe == "lora":
        folder = newest(tmp_path / "last")
        kept = [name for file in open_checkpoint(folder, "tiny").weight_files for name in load_file(file)]
        assert kept and all(".lora_" in name for name in kept), "the base is not saved again"
        moved = [name for name in base if not torch.equal(tuned[name], base[name].bfloat16().float())]
        assert len(moved) == 14 and all("_proj.weight" in name for name in moved)
    else:
        assert not torch.equal(tuned["lm_head.weight"], base["lm_head.weight"])


@pytest.mark.parametrize("recipe", ["fp32", "full-bf16-sr", "lora"])
def test_goes_on_without_the_bases_weights_where_all_are_in_the_checkpoint(tmp_path: Path, recipe: str) -> None:
    """A host that a training comes to later need not download them; an export is in their type all the same."""
    inputs = make_inputs(tmp_path / "inputs", dtype=torch.bfloat16)
    spec = make_spec(inputs, recipe=recipe)
    whole = train_here(spec, tmp_path / "whole")
    step, folder = min(saved_steps(tmp_path / "whole").items())
    going = resume(spec, folder)
    (inputs / "base" / "model.safetensors").unlink()
    if recipe == "lora":
        incident = of_type(train_here(going, tmp_path / "refused", expect=2), "incident")[0]
        assert "no weights" in incident["message"]
        return
    last = train_here(going, tmp_path / "last")
    assert of_type(last, "plan")[0]["fromStep"] == step < of_type(last, "plan")[0]["steps"]
    assert last[-1]["weightsSha256"] == whole[-1]["weightsSha256"]
    exported = [load_file(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "last")]
    assert all(torch.equal(exported[0][name], exported[1][name]) for name in exported[0])


def test_another_recipe_than_the_checkpoints_is_refused(inputs: Path, tmp_path: Path) -> None:
    train_here(make_spec(inputs, recipe="full-bf16-sr", maxSteps=2), tmp_path / "first")
    going = resume(make_spec(inputs, recipe="lora", maxSteps=2), newest(tmp_path / "first"))
    (found,) = of_type(train_here(going, tmp_path / "second", expect=2), "incident")
    assert "spec, recipe: found lora; expected full-bf16-sr, that of the checkpoint" in found["message"]


def test_full_recipes_end_within_2_percent_of_each_others_validation_loss(inputs: Path, tmp_path: Path) -> None:
    losses = {}
    for recipe in FULL:
        events = train_here(make_spec(inputs, recipe=recipe, epochs=20, validateEverySteps=60), tmp_path / recipe)
        losses[recipe] = of_type(events, "validation")[-1]["loss"]
    start = of_type(events, "step")[0]["loss"]
    assert max(losses.values()) < 0.8 * start, "it learned"
    assert max(losses.values()) / min(losses.values()) < 1.02, losses
