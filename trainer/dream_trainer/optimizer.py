"""AdamW over all parameters, the learning rate as a function of the step, and gradient clipping."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from .pieces import Piece
from .recipes import Recipe
from .rounded_adamw import RoundedAdamW
from .sharding import is_sharded, local, piece_of, sum_over_ranks
from .spec import OptimizerSpec

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Optimizer(Protocol):
    """AdamW with all that outlives a process in `tensors`, by parameter name; they stay the same objects. Of those in
    `pieces` this rank has some rows."""

    tensors: dict[str, Tensor]
    pieces: dict[str, Piece]

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
    """Torch's, fused: one kernel for all tensors. `tensors`: `exp_avg.NAME`, `exp_avg_sq.NAME`, and `updates`, its
    count of steps."""

    def __init__(self, model: nn.Module, spec: OptimizerSpec) -> None:
        self._parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._spec = spec
        device = self._parameters[0][1].device
        self.tensors: dict[str, Tensor] = {"updates": torch.zeros((), dtype=torch.float32, device=device)}
        self.pieces: dict[str, Piece] = {}
        for name, parameter in self._parameters:
            piece = piece_of(parameter)
            for moment in _MOMENTS:
                self.tensors[f"{moment}.{name}"] = torch.zeros_like(local(parameter))
                if piece:
                    self.pieces[f"{moment}.{name}"] = piece

    def restore(self, tensors: dict[str, Tensor]) -> None:
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def update(self, step: int, rate: float, factor: Tensor | None = None) -> None:
        grads = [local(parameter.grad) for _, parameter in self._parameters if parameter.grad is not None]
        if factor is not None:
            torch._foreach_mul_(grads, factor)  # pyright: ignore[reportPrivateImportUsage]
        spec, updates = self._spec, self.tensors["updates"]
        adamw(
            [local(parameter) for _, parameter in self._parameters],
            grads,
            *([self.tensors[f"{moment}.{name}"] for name, _ in self._parameters] for moment in _MOMENTS),
            max_exp_avg_sqs=[],
            # Torch counts for each parameter by itself, in place.
            state_steps=list(updates.repeat(len(self._parameters)).unbind()),
            fused=True,
            amsgrad=False,
            beta1=spec.beta1,
            beta2=spec.beta2,
            lr=rate,
            weight_decay=spec.weight_decay,
            eps=spec.epsilon,
            maximize=False,
        )
        updates += 1


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
    """L2 norm over all gradients, in float32 whatever they are held in; the same on all ranks."""
    shards = [local(grad) for grad in grads if is_sharded(grad)]
    if not shards:
        return _norm(grads)
    square = sum_over_ranks(_norm(shards).square())
    return (square + _norm([grad for grad in grads if not is_sharded(grad)]).square()).sqrt()


def _norm(grads: list[Tensor]) -> Tensor:
    # Not in torch's list of public names, but what its own norm is made of.
    norms = torch._foreach_norm(grads, 2, dtype=torch.float32)  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack(norms))


def clip_factor(norm: Tensor, limit: float | None) -> Tensor | None:
    """What to multiply gradients of this norm by, so that it is at most `limit` (with torch's 1e-6 of slack)."""
    return None if limit is None else (limit / (norm + 1e-6)).clamp(max=1)
