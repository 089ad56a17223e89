"""The model as a recipe trains it: dtypes, adapters, and where its tensors come from."""

from __future__ import annotations

import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .config import DreamConfig
from .lora import add_adapters, is_adapter, start_adapters
from .model import DreamModel
from .pieces import Piece
from .recipes import Recipe
from .sharding import local, piece_of
from .spec import TrainSpec
from .weights import load_weights, weight_files


def outline(config: DreamConfig, recipe: Recipe, spec: TrainSpec) -> DreamModel:
    """On the meta device: the shapes and dtypes alone."""
    with torch.device("meta"):
        model = DreamModel(config).to(getattr(torch, recipe.weights))
    if recipe.lora:
        add_adapters(model, spec.lora)
    return model


def fill(model: DreamModel, recipe: Recipe, spec: TrainSpec, resumed: Checkpoint | None, device: torch.device) -> None:
    """From the checkpoint; where only adapters are trained, all else from the base."""
    dtype = getattr(torch, recipe.weights)
    if not recipe.lora:
        load_weights(model, resumed.weight_files if resumed else weight_files(spec.model), dtype, device)
        return
    load_weights(model, weight_files(spec.model), dtype, device, lambda name: not is_adapter(name))
    if resumed:
        load_weights(model, resumed.weight_files, torch.float32, device, is_adapter)
    else:
        start_adapters(model, spec.seed, device)


def trained_tensors(model: DreamModel) -> dict[str, Tensor]:
    """What the optimizer changes, and a checkpoint keeps; of shards this rank's rows."""
    return {name: local(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}


def trained_pieces(model: DreamModel) -> dict[str, Piece]:
    """Which rows those are."""
    trained = {name: piece_of(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: piece for name, piece in trained.items() if piece}
