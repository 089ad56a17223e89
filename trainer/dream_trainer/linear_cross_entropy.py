"""The head and its cross-entropy in one: logits exist a chunk at a time, and the backward pass computes none again.

Weights of the tokens are known before the loss, so that a chunk's gradients can be taken while its logits are there.
Shapes: M masked tokens, C tokens of a chunk, D hidden, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS_AT_ONCE = 2**28
"""Elements of logits that exist at one time: 0.5 GB in bf16, some 1,765 tokens of the full vocabulary."""


def weighted_cross_entropy(
    hidden_MD: Tensor,
    weight_VD: Tensor,
    targets_M: Tensor,
    weights_M: Tensor,
    weight_gradient_VD: Tensor | None = None,
) -> Tensor:
    """Σ weight × cross-entropy in nats, float32; products in the type that autocast gives, or that of the hidden
    states. With `weight_gradient_VD`, the gradient of `weight_VD` is added to it at once, and the sum is what the
    backward pass has to start from, with a gradient of 1."""
    device = hidden_MD.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_MD.dtype
    with torch.autocast(device, enabled=False):
        weight_VD = weight_VD.to(dtype)
        if weight_gradient_VD is not None:
            weight_VD = weight_VD.detach()
        loss = _WeightedCrossEntropy.apply(
            hidden_MD.to(dtype), weight_VD, targets_M, weights_M.float(), weight_gradient_VD
        )
    assert isinstance(loss, Tensor)
    return loss


class _WeightedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MD: Tensor,
        weight_VD: Tensor,
        targets_M: Tensor,
        weights_M: Tensor,
        sum_VD: Tensor | None,
    ) -> Tensor:
        chunk = max(1, LOGITS_AT_ONCE // weight_VD.shape[0])
        loss = torch.zeros((), dtype=torch.float32, device=hidden_MD.device)
        hidden_grad_MD = torch.empty_like(hidden_MD)
        own_grad_VD = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        weight_grad_VD = own_grad_VD if sum_VD is None else sum_VD
        for start in range(0, len(targets_M), chunk):
            part = slice(start, start + chunk)
            targets_C, weights_C = targets_M[part], weights_M[part]
            hidden_CD = hidden_MD[part]
            logits_CV = hidden_CD @ weight_VD.t()
            for tensor in (logits_CV, targets_C, weights_C):
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
            losses_C, logits_grad_CV = _compiled()(logits_CV, targets_C, weights_C)
            loss += losses_C.sum()
            torch.mm(logits_grad_CV, weight_VD, out=hidden_grad_MD[part])
            if weight_grad_VD is not None:
                weight_grad_VD.addmm_(logits_grad_CV.t(), hidden_CD)
        ctx.save_for_backward(hidden_grad_MD, own_grad_VD)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden_grad_MD, weight_grad_VD = ctx.saved_tensors
        weight_grad = None if weight_grad_VD is None else weight_grad_VD.mul_(grad)
        return hidden_grad_MD.mul_(grad), weight_grad, None, None, None


def _cross_entropy_and_gradient(logits_CV: Tensor, targets_C: Tensor, weights_C: Tensor) -> tuple[Tensor, Tensor]:
    """The chunk's weighted losses, and their gradient by the logits."""
    logits32_CV = logits_CV.float()
    total_C1 = logits32_CV.logsumexp(dim=-1, keepdim=True)
    losses_C = (total_C1 - logits32_CV.gather(1, targets_C[:, None]))[:, 0]
    is_target_CV = torch.arange(logits_CV.shape[1], device=logits_CV.device)[None] == targets_C[:, None]
    gradient_CV = ((logits32_CV - total_C1).exp() - is_target_CV.float()) * weights_C[:, None]
    return losses_C * weights_C, gradient_CV.to(logits_CV.dtype)


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    return torch.compile(_cross_entropy_and_gradient)
