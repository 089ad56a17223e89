"""The limit of training on this device: the same matrix products and attention, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from ..config import DreamConfig
from .measuring import seconds_of


def limit_seconds(
    config: DreamConfig, rows: int, places: int, masked_share: float, device: torch.device, repeats: int
) -> list[float]:
    """Seconds of one micro-batch's forward and backward, if products and attention were all: those of one layer in
    bf16, each timed over some runs, times the layers, and the head for the masked tokens."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width, kv_width = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    tokens, masked = rows * places, max(1, round(rows * places * masked_share))
    shapes = [(hidden, width), (hidden, kv_width), (hidden, kv_width), (width, hidden)]
    shapes += [(hidden, inner), (hidden, inner), (inner, hidden)]
    layer = [0.0] * repeats
    for in_width, out_width in shapes:
        layer = _sum(layer, _product_seconds(tokens, in_width, out_width, device, repeats))
    layer = _sum(layer, _attention_seconds(config, rows, places, device, repeats))
    head = _product_seconds(masked, hidden, config.vocab_size, device, repeats)
    return [config.num_hidden_layers * one + other for one, other in zip(layer, head, strict=True)]


def _sum(left: list[float], right: list[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]


def _product_seconds(tokens: int, in_width: int, out_width: int, device: torch.device, repeats: int) -> list[float]:
    """Forward, and the gradients of input and weight."""
    x, weight, out_grad = (
        torch.randn(shape, dtype=torch.bfloat16, device=device)
        for shape in ((tokens, in_width), (out_width, in_width), (tokens, out_width))
    )

    def work() -> None:
        for _ in range(_RUNS):
            torch.mm(x, weight.t())
            torch.mm(out_grad, weight)
            torch.mm(out_grad.t(), x)

    work()
    return [seconds / _RUNS for seconds in seconds_of(work, repeats, device)]


def _attention_seconds(config: DreamConfig, rows: int, places: int, device: torch.device, repeats: int) -> list[float]:
    """Compiled FlexAttention on a GPU, as training has it; torch's choice elsewhere."""
    q, k, v = (
        torch.randn(rows, heads, places, config.head_dim, dtype=torch.bfloat16, device=device, requires_grad=True)
        for heads in (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
    )
    attend = (
        torch.compile(flex_attention) if device.type == "cuda" else torch.nn.functional.scaled_dot_product_attention
    )

    def work() -> None:
        for _ in range(_RUNS):
            out = attend(q, k, v, enable_gqa=True)
            assert isinstance(out, Tensor)
            torch.autograd.grad(out, (q, k, v), out)

    work()
    return [seconds / _RUNS for seconds in seconds_of(work, repeats, device)]


_RUNS = 5
