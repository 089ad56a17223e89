"""Which recipe an attempt trains by, and whether it fits into the GPU: told before anything is loaded."""

from __future__ import annotations

import dataclasses

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
    choose_recipe,
    fits,
    nearest_fit,
)
from .recipes import BY_PREFERENCE, RECIPES, Recipe
from .spec import TrainSpec


def recipe_for(
    spec: TrainSpec, config: DreamConfig, resumed: Checkpoint | None, gpu_memory_bytes: int | None
) -> Recipe:
    """That asked for. `auto` takes fp32 on a CPU and the most exact that fits into a GPU, but a training begun keeps
    its recipe on whatever host it comes to. Raises InvalidSpec where that is another, OutOfMemory where it cannot fit.
    """
    asked = spec.recipe
    begun = (resumed.recipe or asked) if resumed else asked
    if asked not in ("auto", begun):
        raise invalid("spec, recipe", asked, f"{begun}, that of the checkpoint", "start anew to change the recipe")
    if gpu_memory_bytes is None:
        return RECIPES["fp32" if begun == "auto" else begun]
    shape = Shape.of(config)
    request = request_of(spec, shape)
    if begun == "auto":
        begun = choose_recipe(shape, request, gpu_memory_bytes) or BY_PREFERENCE[-1]
    request = dataclasses.replace(request, recipe=begun)
    if not fits(shape, request, gpu_memory_bytes):
        raise too_small(shape, request, gpu_memory_bytes)
    return RECIPES[begun]


def request_of(spec: TrainSpec, shape: Shape) -> Request:
    return Request(
        spec.recipe,
        min(spec.micro_batch_size, spec.global_batch_size),
        spec.max_tokens,
        spec.activation_checkpointing,
        spec.activation_budget,
        spec.compile == "on" or (spec.compile == "auto" and shape.parameters >= COMPILED_FROM_PARAMETERS),
        spec.lora.rank,
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
        "train.microBatchSize": (asked.micro_batch_size, near.micro_batch_size),
        "train.activationCheckpointing": (asked.activation_checkpointing, near.activation_checkpointing),
        "train.activationBudget": (asked.activation_budget, near.activation_budget),
        "filter.maxTokens": (asked.max_tokens, near.max_tokens),
    }
    return " and ".join(f"{field} {str(new).lower()}" for field, (old, new) in told.items() if old != new)


def gpu_memory_bytes(device: torch.device) -> int | None:
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
