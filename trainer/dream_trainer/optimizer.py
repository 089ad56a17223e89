"""AdamW over all parameters, the learning rate as a function of the step, and gradient clipping."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from .recipes import Recipe
from .rounded_adamw import RoundedAdamW
from .spec import OptimizerSpec


class Optimizer(Protocol):
    """AdamW with all that outlives a process in `tensors`, by parameter name; they stay the same objects."""

    tensors: dict[str, Tensor]

    def update(self, step: int, rate: float, factor: Tensor | None = None) -> None:
        """Changes the weights by their gradients, each multiplied by `factor`."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None: ...


def build_optimizer(model: nn.Module, spec: OptimizerSpec, recipe: Recipe, seed: int) -> Optimizer:
    """Every trained parameter decays, norms and biases too, as in the public trainer. A model on the meta device gives
    the shapes of the state."""
    if recipe.rounds_stochastically:
        return RoundedAdamW(model, spec, seed=seed, is_8bit=recipe.moments == "8-bit")
    return Fp32AdamW(model, spec)


class Fp32AdamW:
    """Torch's, fused: one kernel for all tensors. `tensors`: `exp_avg.NAME`, `exp_avg_sq.NAME`, and `updates`, its own
    count of steps."""

    def __init__(self, model: nn.Module, spec: OptimizerSpec) -> None:
        parameters = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        # Torch checks devices where it is told to fuse, and a model of shapes has none.
        is_real = parameters[0][1].device.type != "meta"
        self._adamw = torch.optim.AdamW(
            [parameter for _, parameter in parameters],
            lr=spec.learning_rate,
            betas=(spec.beta1, spec.beta2),
            eps=spec.epsilon,
            weight_decay=spec.weight_decay,
            fused=is_real,
        )
        # Torch makes its state at the first step; a checkpoint may come before it.
        updates = torch.zeros((), dtype=torch.float32, device=parameters[0][1].device)
        self.tensors: dict[str, Tensor] = {"updates": updates}
        for name, parameter in parameters:
            moments = {moment: torch.zeros_like(parameter) for moment in ("exp_avg", "exp_avg_sq")}
            self.tensors |= {f"{moment}.{name}": tensor for moment, tensor in moments.items()}
            self._adamw.state[parameter] = {"step": updates.clone(), **moments}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        for state in self._adamw.state.values():
            state["step"].copy_(tensors["updates"])

    def update(self, step: int, rate: float, factor: Tensor | None = None) -> None:
        if factor is not None:
            grads = [p.grad for group in self._adamw.param_groups for p in group["params"] if p.grad is not None]
            torch._foreach_mul_(grads, factor)  # pyright: ignore[reportPrivateImportUsage]
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self.tensors["updates"] += 1


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
    """Of every trained parameter, made (as zeros) where there is none yet: a batch may use no parameter."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def gradient_norm(grads: list[Tensor]) -> Tensor:
    """L2 norm over all gradients, in float32 whatever they are held in."""
    # Not in torch's list of public names, but what its own norm is made of.
    norms = torch._foreach_norm(grads, 2, dtype=torch.float32)  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack(norms))


def clip_factor(norm: Tensor, limit: float | None) -> Tensor | None:
    """What to multiply gradients of this norm by, so that it is at most `limit` (with torch's 1e-6 of slack)."""
    return None if limit is None else (limit / (norm + 1e-6)).clamp(max=1)
