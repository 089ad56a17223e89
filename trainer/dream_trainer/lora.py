"""Low-rank adapters on every linear map of the blocks: y = W x + (alpha / rank) · B A x, of which A and B are trained.

Hu et al., 2021. A starts random, keyed by the seed; B starts at zero, so that training starts from the base model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model import DreamModel
from .sharding import gathered, local, piece_of
from .spec import LoraSpec


class LoraLinear(nn.Linear):
    """A linear map whose own parameters stand still, under their old names, and its float32 adapter."""

    def __init__(self, base: nn.Linear, spec: LoraSpec) -> None:
        with torch.device("meta"):  # Torch would fill the weight with random numbers.
            super().__init__(base.in_features, base.out_features, bias=base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.scale = spec.alpha / spec.rank
        device = base.weight.device
        self.lora_A = nn.Parameter(torch.zeros(spec.rank, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, spec.rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.linear(x, self.lora_A.to(x.dtype))
        return super().forward(x) + F.linear(inner, self.lora_B.to(x.dtype)) * self.scale

    def merged(self, weight: Tensor) -> Tensor:
        """The whole weight in float32 with what was learned added to it."""
        return weight.float() + self.scale * (self.lora_B.detach() @ self.lora_A.detach())


def add_adapters(model: DreamModel, spec: LoraSpec) -> None:
    """Replaces the blocks' linear maps; nothing else of the model is trained any more."""
    model.requires_grad_(False)
    for module in list(model.model.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, LoraLinear(child, spec))


def is_adapter(name: str) -> bool:
    return name.endswith((".lora_A", ".lora_B"))


def start_adapters(model: DreamModel, seed: int, device: torch.device) -> None:
    """Draws every A, uniform within ±1/√(inputs), on the CPU: the same numbers for any device."""
    generator = torch.Generator().manual_seed(seed)
    for _, module in sorted(model.named_modules(), key=lambda named: named[0]):
        if isinstance(module, LoraLinear):
            bound = 1 / math.sqrt(module.in_features)
            drawn = torch.empty(module.lora_A.shape).uniform_(-bound, bound, generator=generator)
            module.lora_A = nn.Parameter(drawn.to(device))
            module.lora_B = nn.Parameter(torch.zeros(module.lora_B.shape, device=device))


def exported_tensors(model: DreamModel, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The model's tensors by Hugging Face name, in `dtype` and host memory, one by one; adapters are merged into their
    weights. Of a sharded model all ranks ask for them together: each is whole on the device while it is told."""
    adapted = {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    for name, parameter in model.named_parameters():
        if not is_adapter(name):
            whole = gathered(local(parameter), piece_of(parameter))
            if name in adapted:
                whole = adapted[name].merged(whole)
            yield name, whole.to(device="cpu", dtype=dtype)
