"""SIGTERM in each phase of a trainer: status 75, and the last done step is saved, or what was saved is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dream_trainer.checkpoint import open_checkpoint
from dream_trainer.events import Events

from .test_evaluate import command, model_folder, shards_of, spec_of, write_data
from .tiny import events_of, make_inputs, make_spec, of_type, start, train_here

__all__ = ["model_folder"]
STEPS = 12


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return train_here(make_spec(inputs), tmp_path_factory.mktemp("undisturbed"))


def in_child(run: Callable[[], int], phase: str, occurrence: int) -> int:
    """The exit status of a process that gets SIGTERM at that occurrence of `phase`. A fork: torch is there already."""
    child = os.fork()
    if child == 0:
        seen, tell = 0, Events.phase

        def phase_and_signal(events: Events, name: str) -> None:
            nonlocal seen
            tell(events, name)
            seen += name == phase
            if name == phase and seen == occurrence:
                os.kill(os.getpid(), signal.SIGTERM)

        Events.phase = phase_and_signal
        os._exit(run())
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1])


def attempt_in_child(spec: dict[str, Any], run_dir: Path, phase: str, occurrence: int = 1) -> int:
    from dream_trainer.train import attempt

    run_dir.mkdir()
    (run_dir / "spec.json").write_text(json.dumps(spec))
    return in_child(lambda: attempt(run_dir / "spec.json", run_dir), phase, occurrence)


def checkpoints(run_dir: Path) -> list[Path]:
    """Verified, in order of steps."""
    folders = sorted((run_dir / "checkpoints").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    for folder in folders:
        open_checkpoint(folder, "tiny")
    return folders


def resumed(inputs: Path, folder: Path, run_dir: Path) -> list[dict[str, Any]]:
    spec = make_spec(inputs)
    return train_here(spec | {"checkpoint": spec["checkpoint"] | {"resumeFrom": str(folder)}}, run_dir)


@pytest.mark.parametrize(
    ("phase", "occurrence", "saved"),
    [("train", 1, 1), ("save", 1, None), ("validation", 1, 3), ("validation", 4, STEPS), ("export", 1, STEPS)],
)
def test_sigterm_saves_the_last_done_step(
    inputs: Path, tmp_path: Path, undisturbed: list[dict[str, Any]], phase: str, occurrence: int, saved: int | None
) -> None:
    first = tmp_path / "first"
    assert attempt_in_child(make_spec(inputs), first, phase, occurrence) == 75
    events = events_of(first)
    assert not of_type(events, "incident") and not of_type(events, "done")
    last = of_type(events, "step")[-1]["step"]
    assert last == (saved or last)
    newest = checkpoints(first)[-1]
    assert newest.name == f"step-{last}"
    assert of_type(events, "checkpoint")[-1]["step"] == last
    after = resumed(inputs, newest, tmp_path / "second")
    assert after[-1]["weightsSha256"] == undisturbed[-1]["weightsSha256"]


@pytest.mark.parametrize("phase", ["start", "load", "compile"])
def test_sigterm_before_training_ends_at_once_and_leaves_what_was_saved(
    inputs: Path, tmp_path: Path, undisturbed: list[dict[str, Any]], phase: str
) -> None:
    folder = Path(of_type(undisturbed, "checkpoint")[-1]["path"])
    spec = make_spec(inputs)
    spec["checkpoint"]["resumeFrom"] = str(folder)
    spec["compile"] = "on" if phase == "compile" else "off"
    assert attempt_in_child(spec, tmp_path / "run", phase) == 75
    events = events_of(tmp_path / "run")
    assert events[-1]["phase"] == phase
    open_checkpoint(folder, "tiny")


@pytest.mark.parametrize("phase", ["start", "load", "generate"])
def test_sigterm_in_an_evaluation_leaves_its_finished_shards(model_folder: Path, tmp_path: Path, phase: str) -> None:
    from dream_trainer.evaluate import main

    spec = spec_of(model_folder, write_data(tmp_path / "data.parquet", 7), qualitativePrompts=[])
    run_dir = tmp_path / "run"
    arguments = command(spec, run_dir)[4:]
    assert in_child(lambda: main(arguments), "never", 1) == 0
    whole = shards_of(run_dir)
    (run_dir / "shards" / "00002.jsonl").unlink()
    assert in_child(lambda: main(arguments), phase, 1) == 75
    left = shards_of(run_dir)
    assert {name: left[name] for name in left if name.endswith(".jsonl")} == {
        name: whole[name] for name in ("00000.jsonl", "00001.jsonl")
    }


RANKS_HOOK = """
import os, signal, time
from dream_trainer.events import Events

tell = Events.phase

def phase(events, name):
    tell(events, name)
    if name == "load" and os.environ.get("RANK") == "1" and os.environ.get("SLOW_RANK"):
        time.sleep(60)
    if name == os.environ.get("STOP_AT") and os.environ.get("RANK") == "0":
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.5)

Events.phase = phase
"""


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every Python process that a test starts runs this first."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(RANKS_HOOK)
    monkeypatch.syspath_prepend(str(tmp_path / "hook"))
    return monkeypatch


def test_two_ranks_end_at_once_where_one_still_loads_and_the_other_waits_for_it(
    inputs: Path, tmp_path: Path, hooked: pytest.MonkeyPatch
) -> None:
    hooked.setenv("SLOW_RANK", "1")
    hooked.setenv("STOP_AT", "train")
    run_dir = tmp_path / "run"
    process = start(make_spec(inputs), run_dir, ranks=2)
    deadline = time.monotonic() + 60
    while not any(event.get("phase") == "train" for event in events_of(run_dir)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert process.returncode == 75, told
    assert time.monotonic() - began < 4
    assert not of_type(events_of(run_dir), "incident")


def test_two_ranks_save_in_validation_and_die_with_their_launcher(
    inputs: Path, tmp_path: Path, hooked: pytest.MonkeyPatch
) -> None:
    hooked.setenv("STOP_AT", "validation")
    first = tmp_path / "first"
    process = start(make_spec(inputs), first, ranks=2)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    assert checkpoints(first)[-1].name == f"step-{of_type(events_of(first), 'step')[-1]['step']}"

    hooked.delenv("STOP_AT")
    process = start(make_spec(inputs, epochs=2000), tmp_path / "second", ranks=2)
    deadline = time.monotonic() + 60
    while not of_type(events_of(tmp_path / "second"), "step"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    process.kill()
    process.wait()
    while any(is_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(pid) for pid in children)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_thread_that_never_ends_holds_no_attempt_that_has_ended(tmp_path: Path) -> None:
    """Such as a save to a disk that is gone."""
    code = (
        "import sys, threading; from concurrent.futures import ThreadPoolExecutor; "
        "from dream_trainer.train import main; "
        "ThreadPoolExecutor(1).submit(threading.Event().wait); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["--spec", str(tmp_path / "none.json"), "--run-dir", str(tmp_path / "run")]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], timeout=60, check=False)
    assert ended.returncode == 2
    assert of_type(events_of(tmp_path / "run"), "incident")[0]["kind"] == "InvalidSpec"
