"""The reference's numbers on every device and in every type that training has; token for token on a GPU too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dream_trainer.determinism import make_deterministic
from dream_trainer.linear import Linear

from .parity import NUMERICS, largest_errors, logit_errors, model_with, other_texts
from .reference import REFERENCE, needs_reference

pytestmark = needs_reference

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT COMPARED ON A GPU: no CUDA device")
on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[needs_gpu, pytest.mark.gpu])])

FLOAT32 = {"logits": 1e-5, "hidden": 1e-5, "loss": 1e-5, "norm": 1e-5, "gradients": 1e-5}
"""Some five times what a CPU is off: 1.1e-6 in logits, 2.1e-6 in gradients. Another device sums the same products in
another order, which costs as much again. TF32, with 10 bits for float32's 23, is off by a hundred times this."""

BFLOAT16 = {"logits": 0.09, "hidden": 0.065, "loss": 0.04, "norm": 0.054, "gradients": 0.2}
"""Three times the worst that a CPU is off: 0.029 in logits, 0.021 in hidden states, 0.006 in the loss, or 0.014 where
it is compiled and of a single token, 0.018 in the norm, 0.066 in gradients. One rounding to 8 bits is off by up to 2⁻⁸,
by 0.0017 in the root mean square. Each block rounds some 15 times on its way, and errors of either sign add up by the
root of their number: √45 × 0.0017 = 0.011 after three blocks, where logits are off by 0.012 to 0.017 on average. The
worst place is off by more, and a backward pass behind the forward one by more again. Another device rounds as often,
but sums in another order: an error as large, but not the same."""


@pytest.fixture(autouse=True)
def numerics_of_training() -> Iterator[None]:
    threads = torch.get_num_threads()
    make_deterministic(None)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def check(device: str, numerics: str, is_compiled: bool) -> None:
    limits = FLOAT32 if numerics == "float32" else BFLOAT16
    errors = largest_errors(REFERENCE, device, numerics, is_compiled)
    print(device, numerics, errors)
    assert {kind: told for kind, told in errors.items() if not told[0] <= limits[kind]} == {}


@on_each_device
@pytest.mark.parametrize("numerics", NUMERICS)
def test_logits_hidden_states_losses_and_gradients_are_the_references(device: str, numerics: str) -> None:
    check(device, numerics, is_compiled=False)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("numerics", NUMERICS)
def test_compiled_blocks_give_the_references_logits_losses_and_gradients(numerics: str) -> None:
    check("cuda", numerics, is_compiled=True)


@on_each_device
def test_texts_at_temperature_0_are_the_references_token_for_token(device: str) -> None:
    assert other_texts(model_with(REFERENCE, device, "float32"), REFERENCE) == []


def test_the_limit_for_float32_tells_tf32_from_it() -> None:
    """With the weights alone cut to TF32's 10 bits."""
    model = model_with(REFERENCE, "cpu", "float32")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Linear):
                module.weight.view(torch.int32).bitwise_and_(~0x1FFF)
    errors = logit_errors(model, REFERENCE, "float32")
    print(errors)
    assert min(errors.values()) > 10 * FLOAT32["logits"]
