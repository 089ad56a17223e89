"""AdamW, its schedule and its state."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dream_trainer.optimizer import Optimizer, build_optimizer, clip_factor, gradient_norm, gradients, learning_rate
from dream_trainer.recipes import RECIPES
from dream_trainer.spec import OptimizerSpec


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2, padding_idx=1)
        self.bias = nn.Parameter(torch.tensor([0.5, -0.25]))
        nn.init.constant_(self.table.weight, 1.0)


def step(model: Pair, optimizer: Optimizer, number: int = 1) -> None:
    model.zero_grad()
    (model.table(torch.tensor([0, 1, 2])) * model.bias).square().sum().backward()
    optimizer.update(number, 0.1)


def test_adamw_is_the_papers_formula_and_decays_every_parameter() -> None:
    spec = OptimizerSpec(learning_rate=0.1, weight_decay=0.2)
    model = Pair()
    optimizer = build_optimizer(model, spec, RECIPES["fp32"], 0)
    expected = {name: parameter.detach().double().clone() for name, parameter in model.named_parameters()}
    first = {name: torch.zeros_like(value) for name, value in expected.items()}
    second = {name: torch.zeros_like(value) for name, value in expected.items()}
    for number in (1, 2, 3):
        step(model, optimizer)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            grad = parameter.grad.double()
            first[name] = 0.9 * first[name] + 0.1 * grad
            second[name] = 0.95 * second[name] + 0.05 * grad**2
            update = first[name] / (1 - 0.9**number) / ((second[name] / (1 - 0.95**number)).sqrt() + 1e-8)
            expected[name] = expected[name] * (1 - 0.1 * 0.2) - 0.1 * update
            torch.testing.assert_close(parameter.double(), expected[name], atol=1e-6, rtol=1e-6)
    pad = model.table.weight[1]
    torch.testing.assert_close(pad, torch.full((2,), 0.98**3), msg="the pad row has no gradient, but decays")


@pytest.mark.parametrize("recipe", ["fp32", "full-bf16-sr"])
def test_gradients_are_cut_to_the_norm_allowed(recipe: str) -> None:
    results = []
    for scale, limit in ((1.0, None), (64.0, 1.0)):
        torch.manual_seed(0)
        layer = nn.Linear(8, 4).to(getattr(torch, RECIPES[recipe].weights))
        optimizer = build_optimizer(layer, OptimizerSpec(epsilon=0.1), RECIPES[recipe], 0)
        grads = [torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) for p in layer.parameters()]
        norm = gradient_norm(grads)
        for parameter, grad in zip(layer.parameters(), grads, strict=True):
            parameter.grad = (grad / norm * scale).to(parameter.dtype)
        factor = clip_factor(gradient_norm(gradients(layer)), limit)
        assert (factor is None) == (limit is None)
        optimizer.update(1, 0.1, factor)
        results.append(layer.weight.detach().float())
    torch.testing.assert_close(results[0], results[1], atol=2e-3, rtol=1e-2)
    assert clip_factor(torch.tensor(0.5), 1.0) == 1


def test_state_survives_to_the_bit() -> None:
    spec = OptimizerSpec(learning_rate=0.1)
    one, other = Pair(), Pair()
    first, second = (build_optimizer(pair, spec, RECIPES["fp32"], 0) for pair in (one, other))
    step(one, first)
    tensors = {name: tensor.clone() for name, tensor in first.tensors.items()}
    assert tensors["updates"] == 1
    other.load_state_dict(one.state_dict())
    second.restore(tensors)
    for _ in range(3):
        step(one, first)
        step(other, second)
    for mine, its in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_the_learning_rate_is_the_public_schedulers() -> None:
    spec = OptimizerSpec(learning_rate=2e-6, warmup_ratio=0.1)
    rates = [learning_rate(spec, step, 40) for step in range(1, 41)]
    assert rates[:5] == pytest.approx([0, 0.5e-6, 1e-6, 1.5e-6, 2e-6])
    assert rates[22] == pytest.approx(1e-6), "half of the peak in the middle of the cosine"
    assert rates[-1] == pytest.approx(1e-6 * (1 + math.cos(math.pi * 35 / 36)))
    constant = OptimizerSpec(learning_rate=3e-4, schedule="constant", warmup_ratio=0)
    assert {learning_rate(constant, step, 10) for step in range(1, 11)} == {3e-4}


def test_the_norm_of_bf16_gradients_is_taken_in_float32() -> None:
    grads = [torch.full((1000,), 0.1).bfloat16(), torch.full((3,), 2.0).bfloat16()]
    exact = math.sqrt(sum(grad.double().square().sum().item() for grad in grads))
    assert gradient_norm(grads).item() == pytest.approx(exact, rel=1e-6)
