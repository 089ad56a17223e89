"""`track`: brings a training's curve to people's tools. Takes the trainer's events, a line of JSON each, from standard
input until it ends; starts without torch.

Every attempt at a training writes files of its own into `--dir`; put side by side they are one curve: TensorBoard drops
what an attempt did beyond the checkpoint from which the next went on, and W&B takes all attempts as one run. A tracker
that fails is told in a line of JSON, `{"tracker": …, "error": …}`, on standard output, and left out from there on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

Scalars = dict[str, float]

# After the last event: W&B waits far longer for a network that is gone.
CLOSE_SECONDS = 30.0


class Tracker(Protocol):
    def log(self, step: int, at: float, scalars: Scalars) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """An event file of this attempt, which begins by withdrawing the steps after `from_step` of the files before it."""

    def __init__(self, folder: Path, from_step: int):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=from_step + 1, flush_secs=5)

    def log(self, step: int, at: float, scalars: Scalars) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step, walltime=at)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """One run for all attempts, by `run_id`. Where to, say W&B's own variables, WANDB_MODE among them."""

    def __init__(self, folder: Path, project: str, name: str, run_id: str, config: dict[str, Any]):
        import wandb

        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        self._run = wandb.init(
            project=project, name=name, id=run_id, resume="allow", dir=str(folder), config=config, settings=settings
        )

    def log(self, step: int, at: float, scalars: Scalars) -> None:
        self._run.log(scalars, step=step)

    def close(self) -> None:
        self._run.finish()


def scalars_of(event: dict[str, Any]) -> Scalars:
    """What of an event belongs into a curve; empty for the others."""
    if event["type"] == "validation":
        return {"validation/loss": event["loss"]}
    if event["type"] != "step" or event["leftOut"]:
        return {}
    return {
        "train/loss": event["loss"],
        "train/learning_rate": event["learningRate"],
        "train/gradient_norm": event["gradNorm"],
        "train/masked_tokens": event["maskedTokens"],
        "train/epoch": event["epoch"],
        "train/tokens_per_second": event["tokens"] / event["seconds"] if event["seconds"] > 0 else 0.0,
        "train/data_wait_seconds": event["dataSeconds"],
    }


def gpu_scalars(gpus: Iterable[dict[str, Any]]) -> Scalars:
    """Use in percent and memory in GiB of each GPU, as far as it tells them."""
    scalars: Scalars = {}
    for gpu in gpus:
        if gpu["percent"] is not None:
            scalars[f"gpu/{gpu['index']}/utilisation_percent"] = float(gpu["percent"])
        if gpu["memoryGib"] is not None:
            scalars[f"gpu/{gpu['index']}/memory_gib"] = float(gpu["memoryGib"])
    return scalars


class Trackers:
    """All that are wanted and work; each that fails is told once and left out."""

    def __init__(self, makers: dict[str, Callable[[], Tracker]], tell: Callable[[str, Exception], None]):
        self._tell = tell
        self._at_work: dict[str, Tracker] = {}
        for name, make in makers.items():
            self._try(name, lambda name=name, make=make: self._at_work.update({name: make()}))

    def log(self, step: int, at: float, scalars: Scalars) -> None:
        for name, tracker in list(self._at_work.items()):
            self._try(name, lambda tracker=tracker: tracker.log(step, at, scalars))

    def close(self) -> None:
        for name, tracker in list(self._at_work.items()):
            self._try(name, tracker.close)

    def _try(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # Whatever a tracker throws is its own affair.
            self._at_work.pop(name, None)
            self._tell(name, error)


def follow(lines: Iterable[str], trackers: Trackers) -> None:
    """Lines of type `gpus` tell the use of the GPUs, which goes with every step until the next one."""
    gpus: Scalars = {}
    for line in lines:
        event = json.loads(line)
        if event["type"] == "gpus":
            gpus = gpu_scalars(event["gpus"])
        elif scalars := scalars_of(event):
            trackers.log(event["step"], event["at"], {**scalars, **gpus})


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer track", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--tracker", action="append", choices=["tensorboard", "wandb"], default=[])
    parser.add_argument("--from-step", type=int, required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--config", type=json.loads, default={})
    args = parser.parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)

    def tell(name: str, error: Exception) -> None:
        print(json.dumps({"tracker": name, "error": f"{type(error).__name__}: {error}"}), flush=True)

    makers: dict[str, Callable[[], Tracker]] = {
        "tensorboard": lambda: TensorBoard(args.dir, args.from_step),
        "wandb": lambda: WeightsAndBiases(args.dir, args.project, args.name, args.run_id, args.config),
    }
    # Its end is the end of its input, so that what was said before is written.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    trackers = Trackers({name: makers[name] for name in args.tracker}, tell)
    follow(sys.stdin, trackers)
    last = threading.Timer(CLOSE_SECONDS, os._exit, [1])
    last.daemon = True
    last.start()
    trackers.close()
    return 0
