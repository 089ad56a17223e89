"""The curve in TensorBoard and W&B: one over all attempts, and never in training's way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dream_trainer.track import Scalars, Trackers, follow, scalars_of

pytest.importorskip("tensorboard")


def step(number: int, loss: float) -> dict:
    told = {"epoch": 0, "learningRate": 1e-4, "gradNorm": 2.0, "tokens": 600, "maskedTokens": 70, "leftOut": False}
    return {
        "type": "step",
        "at": 1e9 + number,
        "step": number,
        "loss": loss,
        "seconds": 0.5,
        "dataSeconds": 0.0,
        **told,
    }


def start(folder: Path, from_step: int, *trackers: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    args = [
        "--dir",
        folder,
        "--from-step",
        from_step,
        "--project",
        "dream-s1k-sft",
        "--name",
        "s1k-1",
        "--run-id",
        "abc",
    ]
    chosen = [word for tracker in trackers for word in ("--tracker", tracker)]
    command = [sys.executable, "-m", "dream_trainer", "track", *map(str, args), *chosen, "--config", '{"epochs": 3}']
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **(env or {})})


def feed(process: subprocess.Popen[str], *events: dict) -> list[dict]:
    out, err = process.communicate("".join(json.dumps(event) + "\n" for event in events), timeout=120)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"tracker"')]


def test_attempts_side_by_side_are_one_curve(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    validation = {"type": "validation", "at": 1e9 + 9, "step": 8, "loss": 0.5, "rows": 4, "seconds": 1.0}
    # Steps 5 and 6 of the first are lost: the second goes on from the checkpoint of step 4.
    assert feed(start(tmp_path / "1", 0, "tensorboard"), *(step(n, 1.0 / n) for n in range(1, 7))) == []
    assert feed(start(tmp_path / "2", 4, "tensorboard"), *(step(n, 1.0 / n) for n in range(5, 9)), validation) == []
    together = tmp_path / "together"
    together.mkdir()
    for attempt in ("1", "2"):
        (file,) = (tmp_path / attempt / "tensorboard").iterdir()
        file.rename(together / f"{attempt}.{file.name}")
    curves = EventAccumulator(str(together)).Reload()
    loss = curves.Scalars("train/loss")
    assert [point.step for point in loss] == list(range(1, 9))
    assert [point.value for point in loss] == pytest.approx([1.0 / n for n in range(1, 9)])
    assert [(point.step, point.value) for point in curves.Scalars("validation/loss")] == [(8, 0.5)]
    assert curves.Scalars("train/tokens_per_second")[0].value == 1200


def test_attempts_are_one_run_of_wandb(tmp_path):
    pytest.importorskip("wandb")
    for attempt, steps in (("1", range(1, 5)), ("2", range(5, 7))):
        (tmp_path / attempt).mkdir()
        told = feed(
            start(tmp_path / attempt, 0, "wandb", env={"WANDB_MODE": "offline"}), *(step(n, 1.0) for n in steps)
        )
        assert told == []
        (run,) = (tmp_path / attempt / "wandb").glob("offline-run-*")
        assert run.name.endswith("-abc")
        (file,) = run.glob("run-abc.wandb")
        content = file.read_bytes()
        assert b"dream-s1k-sft" in content and b"s1k-1" in content and b"train/loss" in content


def test_a_tracker_that_is_down_is_told_and_the_others_go_on(tmp_path):
    pytest.importorskip("wandb")
    nowhere = {
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "",
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "HOME": str(tmp_path),
    }
    (told,) = feed(start(tmp_path / "1", 0, "wandb", "tensorboard", env=nowhere), step(1, 1.0))
    assert told["tracker"] == "wandb" and told["error"]
    (file,) = (tmp_path / "1" / "tensorboard").iterdir()
    assert b"train/loss" in file.read_bytes()


def test_one_that_fails_later_is_told_once():
    class Broken:
        def log(self, step, at, scalars):
            raise OSError("no room")

        def close(self):
            raise AssertionError("left out by then")

    told: list[tuple[str, str]] = []
    trackers = Trackers({"broken": Broken}, lambda name, error: told.append((name, str(error))))
    for number in (1, 2):
        trackers.log(number, 0.0, {"train/loss": 1.0})
    trackers.close()
    assert told == [("broken", "no room")]


def test_what_was_said_before_a_stop_is_written(tmp_path):
    process = start(tmp_path / "1", 0, "tensorboard")
    assert process.stdin is not None
    process.stdin.write(json.dumps(step(1, 1.0)) + "\n")
    process.stdin.flush()
    while not list(tmp_path.glob("1/tensorboard/*")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    feed(process, step(2, 1.0))
    (file,) = (tmp_path / "1" / "tensorboard").iterdir()
    assert file.read_bytes().count(b"train/loss") == 2


def test_a_step_left_out_has_no_loss():
    assert scalars_of({**step(1, 1.0), "leftOut": True}) == {}
    assert scalars_of({"type": "phase", "at": 0.0, "phase": "train"}) == {}


def test_the_use_of_gpus_goes_with_the_steps_after_it():
    told: list[Scalars] = []

    class Tracker:
        def log(self, step: int, at: float, scalars: Scalars) -> None:
            told.append({name: value for name, value in scalars.items() if name.startswith("gpu/")})

        def close(self) -> None: ...

    gpus = [{"index": 0, "percent": 97, "memoryGib": 70}, {"index": 1, "percent": None, "memoryGib": 1}]
    events = [step(1, 1.0), {"type": "gpus", "gpus": gpus}, step(2, 1.0), {"type": "gpus", "gpus": []}, step(3, 1.0)]
    follow(map(json.dumps, events), Trackers({"one": Tracker}, lambda name, error: pytest.fail(f"{name}: {error}")))
    used = {"gpu/0/utilisation_percent": 97.0, "gpu/0/memory_gib": 70.0, "gpu/1/memory_gib": 1.0}
    assert told == [{}, used, {}]
