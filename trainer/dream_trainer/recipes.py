"""The numerics recipes of training: what holds the weights, their moments and the arithmetic. Needs no torch.

Bytes a parameter of state (weights, gradient, two moments): 16 in fp32, 8 in bf16, 6 with 8-bit moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    name: str
    weights: Literal["float32", "bfloat16"]
    """Of the model's own parameters, and of their gradients where they are trained."""
    moments: Literal["float32", "bfloat16", "8-bit"]
    autocast: bool = False
    """Computes in bf16 though weights are in float32."""
    lora: bool = False
    """Trains float32 adapters on the linear maps of the blocks; the model's own parameters stand still."""

    @property
    def rounds_stochastically(self) -> bool:
        """At |w| ≈ 0.02 an update of 2e-6 is lost in bf16 unless it is rounded up now and then."""
        return self.weights == "bfloat16" and not self.lora


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", "float32", "float32"),
        Recipe("full-fp32", "float32", "float32", autocast=True),
        Recipe("full-bf16-sr", "bfloat16", "bfloat16"),
        Recipe("full-bf16-sr-8bit", "bfloat16", "8-bit"),
        Recipe("lora", "bfloat16", "float32", lora=True),
    )
}

BY_PREFERENCE = ("full-fp32", "full-bf16-sr", "full-bf16-sr-8bit", "lora")
"""What `auto` tries on a GPU, the most exact first."""
