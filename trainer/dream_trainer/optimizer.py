"""AdamW over all parameters, the learning rate as a function of the step, and gradient clipping."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .spec import OptimizerSpec


def build_optimizer(model: nn.Module, spec: OptimizerSpec) -> torch.optim.AdamW:
    """Every parameter decays, norms and biases too, as in the public trainer; fused: one kernel for all of them."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=spec.learning_rate,
        betas=(spec.beta1, spec.beta2),
        eps=spec.epsilon,
        weight_decay=spec.weight_decay,
        fused=True,
    )


def learning_rate(spec: OptimizerSpec, step: int, steps: int) -> float:
    """Learning rate of a step counted from 1, as the public trainer's scheduler gives it: a linear rise from 0 over
    int(ratio × steps) steps, then half a cosine that would reach 0 at step + 1 = steps + 1."""
    done, warmup = step - 1, int(spec.warmup_ratio * steps)
    if done < warmup:
        return spec.learning_rate * done / warmup
    if spec.schedule == "constant":
        return spec.learning_rate
    progress = (done - warmup) / max(1, steps - warmup)
    return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def gradients(model: nn.Module) -> list[Tensor]:
    """The gradient of every parameter, made (as zeros) where there is none yet: a batch may use no parameter."""
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def clip_gradients(model: nn.Module, norm: Tensor, limit: float | None) -> None:
    """Scales the gradients so that their norm is at most `limit` (with torch's 1e-6 of slack)."""
    if limit is not None:
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.AdamW | None) -> dict[str, Tensor]:
    """AdamW's state by parameter name: `exp_avg.NAME`, `exp_avg_sq.NAME`, and `updates`, its own count of steps.

    Zeros where nothing has been updated yet, or without an optimizer.
    """
    tensors: dict[str, Tensor] = {}
    updates = torch.zeros((), dtype=torch.float32)
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {}) if optimizer else {}
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}.{name}"] = state[moment] if moment in state else torch.zeros_like(parameter)
        if "step" in state:
            updates = state["step"]
    return tensors | {"updates": updates}


def restore_optimizer(model: nn.Module, optimizer: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            "step": tensors["updates"].to(device=parameter.device, dtype=torch.float32, copy=True),
            **{
                moment: tensors[f"{moment}.{name}"].to(device=parameter.device, dtype=parameter.dtype, copy=True)
                for moment in ("exp_avg", "exp_avg_sq")
            },
        }
