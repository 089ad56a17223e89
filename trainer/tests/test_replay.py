"""Steps of a finished training done once more: the same numbers and the same state, from wherever they start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from dream_trainer.checkpoint import seal, write_manifest
from dream_trainer.weights import weights_sha256

from .tiny import make_inputs, make_spec, of_type, train_here

MEASURED = ("at", "seconds", "dataSeconds")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def trained(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """12 steps, a checkpoint every 2; the newest two and the best are kept."""
    run_dir = tmp_path_factory.mktemp("trained")
    return run_dir, train_here(make_spec(inputs, leaveOutSteps=[5]), run_dir)


def replay(
    inputs: Path, run_dir: Path, until: int, resume_from: Path | None = None, expect: int = 0
) -> list[dict[str, Any]]:
    spec = make_spec(inputs, leaveOutSteps=[5], validationData=None)
    spec["checkpoint"]["resumeFrom"] = str(resume_from) if resume_from else None
    return train_here(spec, run_dir, expect, replay_until=until)


def numbers(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: step[name] for name in step if name not in MEASURED} for step in of_type(events, "step")]


def tensors(checkpoint: Path, kind: str) -> dict[str, Any]:
    files = sorted(checkpoint.glob(f"{kind}-*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def test_from_the_base_gives_the_same_numbers_and_keeps_nothing(
    inputs: Path, trained: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    events = replay(inputs, tmp_path, 6)
    assert numbers(events) == numbers(trained[1])[:6]
    assert not of_type(events, "checkpoint") and not of_type(events, "validation")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_from_a_checkpoint_reaches_the_state_of_the_next_and_the_exported_weights(
    inputs: Path, trained: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    run_dir, undisturbed = trained
    kept = sorted((run_dir / "checkpoints").glob("step-*"), key=lambda folder: int(folder.name[5:]))
    start, end = kept[-2], kept[-1]
    assert end.name == "step-12"
    events = replay(inputs, tmp_path, 12, start)
    assert numbers(events) == numbers(undisturbed)[int(start.name[5:]) :]
    (state,) = of_type(events, "state")
    assert state["weightsSha256"] == weights_sha256(tensors(end, "weights"))
    assert state["optimizerSha256"] == weights_sha256(tensors(end, "optimizer"))
    assert events[-1]["weightsSha256"] == undisturbed[-1]["weightsSha256"]


def test_from_an_altered_state_the_numbers_differ(
    inputs: Path, trained: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    run_dir, undisturbed = trained
    forged = tmp_path / "step-10"
    forged.mkdir()
    (forged / "history.jsonl").write_text((run_dir / "checkpoints" / "step-10" / "history.jsonl").read_text())
    for kind in ("weights", "optimizer"):
        content = tensors(run_dir / "checkpoints" / "step-10", kind)
        if kind == "weights":
            content["model.norm.weight"][0] += 0.01
        save_file(content, forged / f"{kind}-00000-00000.safetensors")
    write_manifest(forged, "tiny", "fp32", 10, None, [seal(path) for path in forged.iterdir()])
    events = replay(inputs, tmp_path / "again", 12, forged)
    assert numbers(events)[0]["loss"] != numbers(undisturbed)[10]["loss"]
    assert events[-1]["weightsSha256"] != undisturbed[-1]["weightsSha256"]


@pytest.mark.parametrize("until", [0, 13])
def test_refuses_steps_that_the_training_does_not_have(inputs: Path, tmp_path: Path, until: int) -> None:
    (incident,) = of_type(replay(inputs, tmp_path, until, expect=2), "incident")
    assert incident["message"] == f"--until: found {until}; expected a step from 1 to 12; choose one"
