"""`python -m tests.measure_start FOLDER`, in trainer/: from the start of a process to its first step, as JSON.

Dream 7B's shapes with random weights, s1K's default objective, in real processes: on a host that has compiled nothing;
`precompile` on one that has no weights yet; again with its file of kernels and an empty cache of the compiler, as on a
host that took the file from a store; and from a checkpoint. All end with SIGKILL. The page cache is warm for what was
written just before. Without a GPU all shrinks, to see that the script works.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from dream_trainer.bench.measuring import DREAM_7B, random_model
from dream_trainer.distributed import own_device
from dream_trainer.weights import save_model

from .tiny import events_of, make_data, make_model, make_spec, newest, resume, saved_steps, start

PHASES = ("start", "load", "compile", "train")


def make_large_model(folder: Path, layers: int) -> None:
    """Dream 7B's shapes; of the tiny model the tokenizer."""
    tiny = make_model(folder.with_name("tiny"), torch.bfloat16)
    fields = json.loads((tiny / "config.json").read_text())
    config = dataclasses.replace(DREAM_7B, num_hidden_layers=layers)
    shapes = {name: value for name, value in dataclasses.asdict(config).items() if not name.endswith("_token_id")}
    model = random_model(config, torch.bfloat16, own_device())
    save_model(dict(model.named_parameters()), tiny, folder)
    (folder / "config.json").write_text(json.dumps(fields | shapes))


def measured(spec: dict[str, Any], run_dir: Path, kernels: Path, cache: Path, *, until_saved: bool) -> dict[str, Any]:
    """Seconds of each phase up to the first step, and that step's own."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    began = time.time()
    process = start(spec, run_dir, kernels=kernels)
    steps: list[dict[str, Any]] = []
    while not steps or (until_saved and not saved_steps(run_dir)):
        if process.poll() is not None:
            raise SystemExit(f"the trainer ended early: {process.communicate()[1]}")
        time.sleep(0.02)
        steps = [event for event in events_of(run_dir) if event["type"] == "step"]
    process.kill()
    process.wait()
    events = events_of(run_dir)
    at = {event["phase"]: event["at"] for event in reversed(events) if event["type"] == "phase"}
    marks = [began, *(at[phase] for phase in PHASES if phase in at), steps[0]["at"]]
    names = ["imports", *(phase for phase in PHASES if phase in at)]
    seconds = {name: round(end - begin, 2) for name, begin, end in zip(names, marks[:-1], marks[1:], strict=True)}
    figures = {"secondsToFirstStep": round(steps[0]["at"] - began, 2), "seconds": seconds}
    return figures | {"loss": steps[0]["loss"], "gradNorm": steps[0]["gradNorm"]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    is_small = not torch.cuda.is_available()
    figures: dict[str, Any] = {
        "what": "python -m tests.measure_start FOLDER (in trainer/)",
        "device": "cpu" if is_small else torch.cuda.get_device_name(),
        "torch": torch.__version__,
    }

    def tell(name: str, figure: dict[str, Any]) -> None:
        figures[name] = figure
        print(name, json.dumps(figure), flush=True)
        (folder / "start.json").write_text(json.dumps(figures, indent=2) + "\n")

    if is_small:
        make_model(folder / "base", torch.bfloat16)
    else:
        make_large_model(folder / "base", 28)
        torch.cuda.empty_cache()
    make_data(folder / "train.parquet", 64, letters=20 if is_small else 900)
    spec = make_spec(
        folder, validationData=None, recipe="full-bf16-sr-8bit", maxTokens=96 if is_small else 2048,
        globalBatchSize=16, microBatchSize=4, compile="on", activationCheckpointing=True, activationBudget=0.75,
        checkpoint=make_spec(folder)["checkpoint"] | {"everySteps": 1},
    )  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec))
    kernels = folder / "kernels"
    tell("cold", measured(spec, folder / "cold", folder / "kernels-cold", folder / "cache-1", until_saved=False))

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache-2")
    began = time.time()
    command = [sys.executable, "-m", "dream_trainer", "precompile", "--spec", str(folder / "spec.json")]
    subprocess.run([*command, "--kernels", str(kernels)], check=True)
    tell("precompile", {"seconds": round(time.time() - began, 2), "fileBytes": kernels.stat().st_size})

    written = kernels.stat().st_mtime_ns
    warm = measured(spec, folder / "warm", kernels, folder / "cache-3", until_saved=True)
    tell("warm", warm | {"compiledAnew": kernels.stat().st_mtime_ns != written})
    resumed = resume(spec, newest(folder / "warm"))
    tell("resumed", measured(resumed, folder / "resumed", kernels, folder / "cache-3", until_saved=False))


if __name__ == "__main__":
    main()
