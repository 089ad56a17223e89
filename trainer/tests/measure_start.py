"""`python -m tests.measure_start FOLDER [--parts …] [--ranks N]`, in trainer/: from the start of a process to its first
step, as JSON.

Dream 7B's shapes with random weights, s1K's default objective, in real processes. The parts: `precompile` on a host
that has no weights yet; `warm` with its file of kernels and an empty cache of the compiler, as on a host that took the
file from a store; `resumed`, the same from the checkpoint of `warm`; `cold` on a host that has compiled nothing;
`whole`, three steps to the end, with what the planner says of the peak. The others end with SIGKILL. Several ranks
share the weights. The page cache is warm for what was written just before. Without a GPU all shrinks.
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
from dream_trainer.config import DreamConfig
from dream_trainer.distributed import own_device
from dream_trainer.fit import request_of
from dream_trainer.memory import GIB, Shape, bytes_by_kind
from dream_trainer.spec import TrainSpec
from dream_trainer.weights import save_model

from .tiny import events_of, make_data, make_model, make_spec, newest, of_type, resume, start

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


def measured(
    spec: dict[str, Any], run_dir: Path, kernels: Path, cache: Path, ranks: int = 1, *, until: str = "step"
) -> dict[str, Any]:
    """Seconds of each phase up to the first step, and that step's own. Ends the process once it told of `until`."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    began = time.time()
    process = start(spec, run_dir, ranks, kernels)
    events: list[dict[str, Any]] = []
    while until not in {event["type"] for event in events}:
        if process.poll() not in (None, 0):
            raise SystemExit(f"the trainer ended early: {process.communicate()[1]}")
        time.sleep(0.02)
        events = events_of(run_dir)
    process.kill()
    process.wait()
    at = {event["phase"]: event["at"] for event in reversed(events) if event["type"] == "phase"}
    steps = of_type(events, "step")
    marks = [began, *(at[phase] for phase in PHASES if phase in at), steps[0]["at"]]
    names = ["imports", *(phase for phase in PHASES if phase in at)]
    seconds = {name: round(end - begin, 2) for name, begin, end in zip(names, marks[:-1], marks[1:], strict=True)}
    figures = {"secondsToFirstStep": round(steps[0]["at"] - began, 2), "seconds": seconds}
    if until == "done":
        figures["peakGib"] = round(of_type(events, "done")[0]["peakMemoryBytes"] / GIB, 2)
        figures["stepSeconds"] = [round(step["seconds"], 3) for step in steps]
    return figures | {key: [step[key] for step in steps[:3]] for key in ("loss", "gradNorm")}


def planned_gib(spec_file: Path, ranks: int) -> float:
    spec = TrainSpec.load(spec_file)
    shape = Shape.of(DreamConfig.load(spec.model))
    asked = dataclasses.replace(request_of(spec, shape, ranks), is_sharded=ranks > 1)
    return round(bytes_by_kind(shape, asked)["total"] / GIB, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", nargs="+", default=["precompile", "warm", "resumed", "cold"])
    parser.add_argument("--ranks", type=int, default=1)
    arguments = parser.parse_args()
    folder, ranks = arguments.folder, arguments.ranks
    folder.mkdir(parents=True, exist_ok=True)
    is_small = not torch.cuda.is_available()
    what = f"python -m tests.measure_start FOLDER --ranks {ranks} --parts {' '.join(arguments.parts)} (in trainer/)"
    device = "cpu" if is_small else torch.cuda.get_device_name()
    figures: dict[str, Any] = {"what": what, "device": device, "torch": torch.__version__}

    def tell(name: str, figure: dict[str, Any]) -> None:
        figures[name] = figure
        print(name, json.dumps(figure), flush=True)
        (folder / f"start-{ranks}.json").write_text(json.dumps(figures, indent=2) + "\n")

    if not (folder / "base").exists():
        if is_small:
            make_model(folder / "base", torch.bfloat16)
        else:
            make_large_model(folder / "base", 28)
            torch.cuda.empty_cache()
        make_data(folder / "train.parquet", 64, letters=20 if is_small else 900)
    spec = make_spec(
        folder, validationData=None, recipe="full-bf16-sr-8bit", maxTokens=96 if is_small else 2048, maxSteps=3,
        globalBatchSize=16, microBatchSize=4, compile="on", activationCheckpointing=True, activationBudget=0.75,
        sharding="on" if ranks > 1 else "off", checkpoint=make_spec(folder)["checkpoint"] | {"everySteps": 1},
    )  # fmt: skip
    kernels, run = folder / f"kernels-{ranks}", folder / f"{ranks}-ranks"
    run.mkdir(exist_ok=True)
    (run / "spec.json").write_text(json.dumps(spec))
    for part in arguments.parts:
        if part == "precompile":
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(run / "cache-1")
            began = time.time()
            command = [sys.executable, "-m", "dream_trainer", "precompile", "--spec", str(run / "spec.json")]
            subprocess.run([*command, "--kernels", str(kernels)], check=True)
            tell(part, {"seconds": round(time.time() - began, 2), "fileBytes": kernels.stat().st_size})
        elif part == "warm":
            written = kernels.stat().st_mtime_ns
            figure = measured(spec, run / part, kernels, run / "cache-2", ranks, until="checkpoint")
            tell(part, figure | {"compiledAnew": kernels.stat().st_mtime_ns != written})
        elif part == "resumed":
            tell(part, measured(resume(spec, newest(run / "warm")), run / part, kernels, run / "cache-3", ranks))
        elif part == "cold":
            tell(part, measured(spec, run / part, run / "other-kernels", run / "cache-4", ranks))
        elif part == "whole":
            seldom = spec | {"checkpoint": spec["checkpoint"] | {"everySteps": 100}}
            figure = measured(seldom, run / part, kernels, run / "cache-5", ranks, until="done")
            tell(part, figure | {"plannedGib": planned_gib(run / "spec.json", ranks)})


if __name__ == "__main__":
    main()
