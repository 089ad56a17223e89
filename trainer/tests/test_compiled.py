"""What compiled training is made of, as far as it runs without compiling, which takes minutes on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import flex_attention

from dream_trainer import linear_cross_entropy
from dream_trainer.ahead import Ahead
from dream_trainer.block_mask import BLOCK, key_block_mask
from dream_trainer.compiled import warm_up_shapes
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
