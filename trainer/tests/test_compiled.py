"""What compiled training is made of, as far as it runs without compiling, which takes minutes on a CPU."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import flex_attention

from dream_trainer import linear_cross_entropy
from dream_trainer.ahead import Ahead
from dream_trainer.block_mask import BLOCK, key_block_mask, whole_block_mask
from dream_trainer.compiled import warm_up_shapes
from dream_trainer.gradients import clear_gradients
from dream_trainer.linear import Linear, product
from dream_trainer.weights import load_model

from .tiny import make_model


def test_block_masks_show_every_query_the_visible_keys() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 3, 2, 4 * BLOCK, 16, generator=generator)
    visible_BS = torch.arange(4 * BLOCK)[None] >= torch.tensor([0, 150, 2 * BLOCK])[:, None]
    visible_BS[1, -40:] = False
    mask = key_block_mask(visible_BS)
    assert mask.kv_num_blocks[:, 0, 0].tolist() == [0, 2, 0]
    assert mask.full_kv_num_blocks is not None and mask.full_kv_num_blocks[:, 0, 0].tolist() == [4, 1, 2]
    out = flex_attention(q, k, v, block_mask=mask)
    assert isinstance(out, torch.Tensor)
    dense = F.scaled_dot_product_attention(q, k, v, attn_mask=visible_BS[:, None, None])
    torch.testing.assert_close(out, dense, atol=1e-5, rtol=1e-5)
    one_block = whole_block_mask(4 * BLOCK, q.device)
    assert one_block.kv_num_blocks.tolist() == [[[1]]] and one_block.kv_indices.tolist() == [[[[0]]]]
    whole = flex_attention(q, k, v, block_mask=one_block)
    torch.testing.assert_close(whole, F.scaled_dot_product_attention(q, k, v), atol=1e-5, rtol=1e-5)


def test_the_chunked_head_has_the_loss_and_gradients_of_full_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_cross_entropy, "LOGITS_AT_ONCE", 4 * 50)
    monkeypatch.setattr(linear_cross_entropy, "_compiled", lambda: linear_cross_entropy._cross_entropy_and_gradient)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    targets, weights = torch.randint(0, 50, (10,), generator=generator), torch.rand(10, generator=generator)
    expected = (F.cross_entropy(hidden @ weight.t(), targets, reduction="none") * weights).sum() * 3
    found = linear_cross_entropy.weighted_cross_entropy(hidden, weight, targets, weights) * 3
    torch.testing.assert_close(found, expected)
    inputs = (hidden, weight)
    torch.testing.assert_close(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs))


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_products_add_up_the_gradients_that_autograd_would(backend: str | None) -> None:
    """`aot_eager` cuts the passes apart as the compiler does, without compiling."""
    torch.manual_seed(0)
    plain = nn.Sequential(Linear(8, 16, bias=True), nn.SiLU(), Linear(16, 8, bias=False))
    summing = copy.deepcopy(plain)
    for module in summing:
        if isinstance(module, Linear):
            module.clear_gradient_sum()
    forward: Any = summing
    if backend is not None:
        torch._dynamo.allow_in_graph(product)
        forward = torch.compile(summing, backend=backend)
    for rows in (4, 3):
        x = torch.randn(rows, 5, 8)
        for model in (plain, forward):
            model(x.clone().requires_grad_()).square().sum().backward()
    for expected, found in zip(plain.parameters(), summing.parameters(), strict=True):
        assert expected.grad is not None and found.grad is not None
        torch.testing.assert_close(found.grad, expected.grad)
    first = summing[0]
    assert isinstance(first, Linear)
    assert first.weight.grad is first.gradient_sum
    first.clear_gradient_sum()
    assert first.gradient_sum is not None and not first.gradient_sum.any()


def test_a_compiled_model_in_bf16_adds_up_in_its_products_and_another_does_not(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    for dtype, is_compiled, summing in (
        (torch.bfloat16, True, 15),
        (torch.bfloat16, False, 0),
        (torch.float32, True, 0),
    ):
        model = load_model(folder, dtype, "cpu")
        model.is_compiled = is_compiled
        clear_gradients(model)
        assert sum(parameter.grad is not None for parameter in model.parameters()) == summing


def test_the_heads_gradient_is_added_to_a_sum_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_cross_entropy, "_compiled", lambda: linear_cross_entropy._cross_entropy_and_gradient)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    given = hidden, weight, torch.randint(0, 50, (10,), generator=generator), torch.rand(10, generator=generator)
    expected = torch.autograd.grad(linear_cross_entropy.weighted_cross_entropy(*given), (hidden, weight))
    total = torch.ones_like(weight)
    [found] = torch.autograd.grad(linear_cross_entropy.weighted_cross_entropy(*given, total), hidden)
    torch.testing.assert_close(found, expected[0])
    torch.testing.assert_close(total - 1, expected[1])


@pytest.mark.parametrize("places", [40, 300])
def test_blocks_at_whole_lengths_give_the_hidden_states_of_those_asked_for(tmp_path: Path, places: int) -> None:
    model = load_model(make_model(tmp_path / "model"), torch.float32, "cpu")
    generator = torch.Generator().manual_seed(0)
    ids_BS = torch.randint(0, 256, (2, places), generator=generator)
    visible_BS = torch.arange(places)[None] >= torch.tensor([[0], [7]])
    at_M = torch.tensor([3, 9, places - 1, places + 20])
    for visible in (None, visible_BS):
        model.is_compiled = False
        expected = model.hidden_at(ids_BS, visible, None, at_M)
        model.is_compiled = True
        torch.testing.assert_close(model.hidden_at(ids_BS, visible, None, at_M), expected)
        assert model.hidden(ids_BS, visible).shape == (2, places, 32)


def test_warms_up_every_graph_that_a_training_needs() -> None:
    assert warm_up_shapes({4}, 2048, lengths_vary=False) == [(4, 2048)]
    assert warm_up_shapes({4, 2}, 2048, lengths_vary=False) == [(4, 2048), (3, 1024)]
    assert warm_up_shapes({4, 1}, 2048, lengths_vary=True) == [(4, 2048), (3, 1024), (1, 2048), (1, 1024)]
    assert warm_up_shapes({1}, 2048, lengths_vary=True) == [(1, 2048), (1, 1024)]


def test_makes_the_next_batch_before_it_is_asked_for_and_none_behind_the_last() -> None:
    made: list[int] = []

    def make(step: int):
        made.append(step)
        return step

    ahead = Ahead(make)  # type: ignore[arg-type]  # A number is as good as a batch here.
    assert [ahead.take(step, last=5) for step in (3, 4, 5)] == [3, 4, 5]
    ahead._thread.shutdown()
    assert made == [3, 4, 5]
