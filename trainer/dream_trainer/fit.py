"""Which recipe an attempt trains by, whether its state is sharded, and whether it fits into the GPUs: told before
anything is loaded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from .checkpoint import Checkpoint
from .config import DreamConfig
from .failures import TrainerFailure, invalid
from .memory import (
    COMPILED_FROM_PARAMETERS,
    GIB,
    RESERVED_BYTES,
    Request,
    Shape,
    bytes_by_kind,
    choose,
    fits,
    nearest_fit,
    smallest,
)
from .recipes import RECIPES, Recipe
from .spec import TrainSpec


@dataclass(frozen=True)
class Fit:
    recipe: Recipe
    is_sharded: bool


def fit(
    spec: TrainSpec, config: DreamConfig, resumed: Checkpoint | None, gpu_memory_bytes: int | None, ranks: int = 1
) -> Fit:
    """As asked for. A recipe `auto` is fp32 on a CPU and the most exact that fits into GPUs, but a training begun keeps
    its recipe on whatever host it comes to; sharding `auto` is off on CPUs and where each GPU can hold the whole state.
    Raises InvalidSpec where the recipe is another, OutOfMemory where it cannot fit.
    """
    asked = spec.recipe
    begun = (resumed.recipe or asked) if resumed else asked
    if asked not in ("auto", begun):
        raise invalid("spec, recipe", asked, f"{begun}, that of the checkpoint", "start anew to change the recipe")
    if gpu_memory_bytes is None:
        return Fit(RECIPES["fp32" if begun == "auto" else begun], spec.sharding == "on" and ranks > 1)
    shape = Shape.of(config)
    request = request_of(spec, shape, ranks)
    if begun != "auto":
        request = dataclasses.replace(request, recipe=begun)
    chosen = choose(shape, request, spec.sharding, gpu_memory_bytes) or smallest(request, spec.sharding)
    if not fits(shape, chosen, gpu_memory_bytes):
        raise too_small(shape, chosen, gpu_memory_bytes)
    return Fit(RECIPES[chosen.recipe], chosen.is_sharded)


def request_of(spec: TrainSpec, shape: Shape, ranks: int) -> Request:
    return Request(
        spec.recipe,
        min(spec.micro_batch_size, spec.global_batch_size),
        spec.max_tokens,
        spec.activation_checkpointing,
        spec.activation_budget,
        spec.compile == "on" or (spec.compile == "auto" and shape.parameters >= COMPILED_FROM_PARAMETERS),
        spec.lora.rank,
        ranks,
    )


def too_small(shape: Shape, request: Request, memory_bytes: int) -> TrainerFailure:
    needed = (bytes_by_kind(shape, request)["total"] + RESERVED_BYTES) / GIB
    near = nearest_fit(shape, request, memory_bytes)
    return TrainerFailure(
        "OutOfMemory",
        f"recipe {request.recipe}, micro-batch {request.micro_batch_size} × {request.max_tokens} tokens: found a GPU "
        f"of {memory_bytes / GIB:.1f} GiB; expected {needed:.1f} GiB; "
        + (f"set {changes(request, near)}" if near else "nothing fits: use a larger GPU, or a smaller model"),
        details={"phase": "load", "microBatchSize": request.micro_batch_size, "planned": True},
    )


def changes(asked: Request, near: Request) -> str:
    """As fields of the run spec."""
    told = {
        "train.recipe": (asked.recipe, near.recipe),
        "train.sharding": ("on" if asked.is_sharded else "off", "on" if near.is_sharded else "off"),
        "train.microBatchSize": (asked.micro_batch_size, near.micro_batch_size),
        "train.activationCheckpointing": (asked.activation_checkpointing, near.activation_checkpointing),
        "train.activationBudget": (asked.activation_budget, near.activation_budget),
        "filter.maxTokens": (asked.max_tokens, near.max_tokens),
    }
    return " and ".join(f"{field} {str(new).lower()}" for field, (old, new) in told.items() if old != new)


def gpu_memory_bytes(device: torch.device) -> int | None:
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
