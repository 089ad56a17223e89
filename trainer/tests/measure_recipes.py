"""`python -m tests.measure_recipes resume|memory FOLDER`, in trainer/: recipes at the widths of Dream 7B, as JSON.

`resume`: two layers, random weights; each recipe trains undisturbed, and again SIGKILLed and resumed, in real
processes, with the compiled kernels of a training of all layers. `memory`: all layers, random weights made on the GPU;
the peak of steps beside the planner's figure, for settings that fit. Without a GPU both shrink, to see that the script
works.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch

from dream_trainer.batches import Batch
from dream_trainer.config import DreamConfig
from dream_trainer.determinism import make_deterministic
from dream_trainer.distributed import own_device
from dream_trainer.gradients import accumulate_gradients
from dream_trainer.lora import start_adapters
from dream_trainer.memory import GIB, Request, Shape, bytes_by_kind
from dream_trainer.model import DreamModel
from dream_trainer.optimizer import build_optimizer, clip_factor, gradient_norm, gradients
from dream_trainer.recipes import BY_PREFERENCE, RECIPES
from dream_trainer.spec import OptimizerSpec, TrainSpec
from dream_trainer.trained_model import outline

from .tiny import killed, make_model, make_spec, newest, of_type, resume, seen, train

WIDTHS = {"hidden_size": 3584, "intermediate_size": 18_944, "num_attention_heads": 28, "num_key_value_heads": 4}
WIDTHS |= {"max_position_embeddings": 4096}
SETTINGS = [
    # recipe, micro-batch, share of activations kept: not compiled, all or nothing
    ("full-bf16-sr-8bit", 1, 1.0),
    ("full-bf16-sr-8bit", 4, 0.0),
    ("full-bf16-sr-8bit", 8, 0.0),
    ("full-bf16-sr", 1, 0.0),
    ("full-bf16-sr", 4, 0.0),
    ("lora", 1, 1.0),
    ("lora", 8, 0.0),
]


def measure_resume(folder: Path, is_small: bool, recipes: list[str]) -> dict[str, Any]:
    widths = {} if is_small else {**WIDTHS, "vocab_size": 8192}
    make_model(folder / "base", torch.bfloat16, **widths)
    letters, rows = (20, 6) if is_small else (900, 6)
    for name in ("train", "validation"):
        records = [
            {"id": f"{n}", "prompt": [{"role": "user", "content": "x" * (n + 1)}], "response": "ab" * (letters - n)}
            for n in range(rows if name == "train" else 1)
        ]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([record | {"reference": "ab"} for record in records]), folder / f"{name}.parquet"
        )
    figures = {}
    for recipe in recipes:
        began = time.monotonic()
        spec = make_spec(
            folder, recipe=recipe, maxTokens=128 if is_small else 2048, epochs=2, globalBatchSize=4, microBatchSize=2,
            optimizer={"learningRate": 1e-4}, compile="off" if is_small else "on",
            activationCheckpointing=True, activationBudget=0.75,
        )  # fmt: skip
        kernels = folder / recipe / "kernels"
        whole = train(spec, folder / recipe / "undisturbed", kernels=kernels)
        killed(spec, folder / recipe / "killed", 1, seen(1, type="checkpoint"), 0, kernels)
        last = train(resume(spec, newest(folder / recipe / "killed")), folder / recipe / "last", kernels=kernels)
        checkpoint = of_type(whole, "checkpoint")[-1]
        figures[recipe] = {
            "resumedFromStep": of_type(last, "plan")[0]["fromStep"],
            "equal": last[-1]["weightsSha256"] == whole[-1]["weightsSha256"],
            "losses": [step["loss"] for step in of_type(whole, "step")],
            "checkpointBytes": checkpoint["bytes"],
            "seconds": round(time.monotonic() - began, 1),
        }
        print(recipe, json.dumps(figures[recipe]), flush=True)
        # Its checkpoints, which the next recipe needs the room of.
        for file in (folder / recipe).rglob("*.safetensors"):
            file.unlink()
    return figures


def measure_memory(folder: Path, is_small: bool) -> list[dict[str, Any]]:
    device = own_device()
    base = make_model(folder / "base", torch.bfloat16)  # For its tokens alone.
    fields = json.loads((base / "config.json").read_text())
    fields |= {} if is_small else {**WIDTHS, "vocab_size": 152_064, "num_hidden_layers": 28}
    config = DreamConfig.parse(fields)
    places = 64 if is_small else 2048
    (folder / "spec.json").write_text(json.dumps(make_spec(folder)))
    spec = TrainSpec.load(folder / "spec.json")
    make_deterministic(1)
    figures = []
    for name, micro_batch, kept in SETTINGS:
        began = time.monotonic()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        figure: dict[str, Any] = {"recipe": name, "microBatchSize": micro_batch, "keptShare": kept}
        try:
            figure |= step_twice(config, spec, name, micro_batch, kept, places, device)
        except torch.OutOfMemoryError as error:
            figure["error"] = str(error).splitlines()[0]
        if device.type == "cuda":
            figure["peakGib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
            figure["reservedGib"] = round(torch.cuda.max_memory_reserved() / GIB, 2)
        asked = Request(name, micro_batch, places, kept < 1, kept, False)
        planned = bytes_by_kind(Shape.of(config), asked)
        figure["plannedGib"] = {kind: round(size / GIB, 2) for kind, size in planned.items()}
        figure["seconds"] = round(time.monotonic() - began, 1)
        figures.append(figure)
        print(json.dumps(figure), flush=True)
        gc.collect()
    return figures


def step_twice(
    config: DreamConfig,
    spec: TrainSpec,
    name: str,
    micro_batch: int,
    kept: float,
    places: int,
    device: torch.device,
) -> dict[str, Any]:
    """Two micro-batches forward and backward, the second onto the first's gradients, and an update."""
    recipe = RECIPES[name]
    model = outline(config, recipe, replace(spec, seed=0))
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.02, generator=generator)
    if recipe.lora:
        start_adapters(model, 0, device)
    model.activation_checkpointing = kept < 1
    optimizer = build_optimizer(model, OptimizerSpec(), recipe, 0)
    accumulate(model, micro_batch, places, recipe.autocast)
    began = time.monotonic()
    accumulate(model, micro_batch, places, recipe.autocast)
    grads = gradients(model)
    norm = gradient_norm(grads)
    optimizer.update(1, 2e-6, clip_factor(norm, 1.0))
    _ = norm.item()
    seconds = [time.monotonic() - began]
    began = time.monotonic()
    optimizer.update(2, 2e-6)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return {"stepSeconds": round(seconds[0], 3), "updateSeconds": round(time.monotonic() - began, 3)}


def accumulate(model: DreamModel, rows: int, places: int, autocast: bool) -> None:
    ids_BS = torch.full((rows, places), model.config.mask_token_id)
    masked_BS = (torch.arange(places) % 2 == 1).repeat(rows, 1)
    batch = Batch(list(range(rows)), ids_BS, ids_BS, None, None, masked_BS, masked_BS.float(), int(masked_BS.sum()))
    accumulate_gradients(model, batch, [range(rows)], "global", micro_batches=1, autocast=autocast)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("resume", "memory"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipes", nargs="+", default=BY_PREFERENCE, help="that are resumed (default all)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    is_small = not torch.cuda.is_available()
    folder = arguments.folder
    is_resume = arguments.what == "resume"
    figures = measure_resume(folder, is_small, arguments.recipes) if is_resume else measure_memory(folder, is_small)
    device = "cpu" if is_small else torch.cuda.get_device_name()
    told = {"device": device, "torch": torch.__version__, arguments.what: figures}
    (folder / f"{arguments.what}.json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
