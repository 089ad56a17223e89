"""`python -m tests.measure_convergence FILE`, in trainer/: full recipes' validation losses over three seeds.

The tiny model from random weights, 60 steps at 1e-3. Exit status 1 where recipes end more than 2 % apart.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from .tiny import make_inputs, make_spec, of_type, train_here

RECIPES = ("full-fp32", "full-bf16-sr", "full-bf16-sr-8bit")
SEEDS = (7, 8, 9)
LARGEST_RATIO = 1.02


def main() -> int:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(Path(folder) / "inputs")
        for seed in SEEDS:
            losses = {}
            for recipe in RECIPES:
                spec = make_spec(inputs, recipe=recipe, seed=seed, epochs=20, validateEverySteps=60)
                events = train_here(spec, Path(folder) / f"{recipe}-{seed}")
                losses[recipe] = of_type(events, "validation")[-1]["loss"]
            rows.append({"seed": seed, "validationLoss": losses, "ratio": max(losses.values()) / min(losses.values())})
    worst = max(row["ratio"] for row in rows)
    told = {"torch": torch.__version__, "device": "cpu", "steps": 60, "seeds": rows, "worstRatio": worst}
    Path(sys.argv[1]).write_text(json.dumps(told, indent=2) + "\n")
    return 0 if worst <= LARGEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
