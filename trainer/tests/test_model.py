"""Logits and hidden states against the reference's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dream_trainer.model import shift
from dream_trainer.weights import load_model

from .parity import inputs
from .reference import REFERENCE, needs_reference, reference_cases

pytestmark = needs_reference

CASES = reference_cases("cases.json")


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(REFERENCE, torch.float32, "cpu")


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return load_file(REFERENCE / "logits.safetensors")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@torch.no_grad()
def test_gives_the_references_logits(model: Any, expected: dict[str, torch.Tensor], case: dict[str, Any]) -> None:
    raw = model(*inputs(case))
    for kind, logits in (("raw", raw), ("shifted", shift(raw))):
        compared = torch.tensor(case[f"compare_{kind}"]).bool()
        reference = expected[f"{case['name']}.logits_{kind}"]
        torch.testing.assert_close(logits[compared], reference[compared], atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_gives_the_references_hidden_states(model: Any, expected: dict[str, torch.Tensor]) -> None:
    case = next(case for case in CASES if case["name"] == "single")
    seen: list[torch.Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for block in model.model.layers]
    seen.append(model.hidden(*inputs(case)))
    for hook in hooks:
        hook.remove()
    for number, hidden in enumerate(seen):
        torch.testing.assert_close(hidden, expected[f"single.hidden_{number}"], atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_sees_both_ways_and_not_what_is_hidden(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, model.config.vocab_size, (1, 8), generator=generator)
    changed = ids.clone()
    changed[0, 7] = (changed[0, 7] + 1) % model.config.vocab_size
    assert not torch.equal(model(ids)[0, 0], model(changed)[0, 0])
    hidden_last = torch.tensor([[True] * 7 + [False]])
    assert torch.equal(model(ids, hidden_last)[0, :7], model(changed, hidden_last)[0, :7])
