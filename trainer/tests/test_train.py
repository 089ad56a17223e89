"""Training in real processes: events, purity, kills and resumes, ranks, checkpoints, bad input."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import load_file

from dream_trainer.checkpoint import open_checkpoint
from dream_trainer.config import DreamConfig
from dream_trainer.tokenizer import Tokenizer
from dream_trainer.weights import load_model, weights_sha256

from .reference import REPOSITORY
from .tiny import (
    events_of,
    killed,
    make_inputs,
    make_model,
    make_spec,
    newest,
    of_type,
    resume,
    saved_steps,
    seen,
    start,
    train,
    train_here,
    wait_for,
)

SCHEMAS = REPOSITORY / "contracts" / "schemas"
BOTH_RANK_COUNTS = pytest.mark.parametrize("ranks", [1, 2])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """Events of a run without incident, by rank count."""
    return {ranks: train(make_spec(inputs), tmp_path_factory.mktemp(f"ranks-{ranks}"), ranks) for ranks in (1, 2)}


def validator(name: str) -> Any:
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def has_step(step: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda events: any(event["step"] >= step for event in of_type(events, "step"))


def incident(events: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_type(events, "incident")
    validator("trainer-event.json").validate(found)
    return found


@BOTH_RANK_COUNTS
def test_tells_its_events_as_the_contract_says(undisturbed: dict[int, list[dict[str, Any]]], ranks: int) -> None:
    events = undisturbed[ranks]
    check = validator("trainer-event.json")
    for event in events:
        check.validate(event)
    with pytest.raises(jsonschema.ValidationError):
        check.validate(events[0] | {"surprise": 1})
    (plan,) = of_type(events, "plan")
    assert (plan["rows"], plan["stepsPerEpoch"], plan["steps"], plan["ranks"]) == (10, 3, 12, ranks)
    steps = of_type(events, "step")
    assert [event["step"] for event in steps] == list(range(1, 13))
    for epoch in range(4):
        assert sorted(row for event in steps if event["epoch"] == epoch for row in event["rows"]) == list(range(10))
    assert [event["step"] for event in of_type(events, "validation")] == [3, 6, 9, 12]
    reasons = {event["step"]: event["reason"] for event in of_type(events, "checkpoint")}
    assert reasons[2] == "cadence" and reasons[3] == "validation" and reasons[12] == "final"
    assert events[-1]["type"] == "done"
    assert of_type(events, "validation")[-1]["loss"] < of_type(events, "validation")[0]["loss"]


def test_takes_the_contracts_spec(inputs: Path) -> None:
    validator("trainer-train-spec.json").validate(make_spec(inputs, objective=FULL_OBJECTIVE, optimizer=FULL_OPTIMIZER))


FULL_OBJECTIVE = {
    "weighting": "cart",
    "cartP": 0.1,
    "cutoff": "random_with_input_pad",
    "keepEos": True,
    "normalisation": "global",
}
FULL_OPTIMIZER = {
    "learningRate": 1e-3,
    "schedule": "cosine",
    "warmupRatio": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weightDecay": 0.01,
    "clipNorm": 1,
}


def test_an_explicit_spec_means_the_same_as_its_defaults(
    inputs: Path, tmp_path: Path, undisturbed: dict[int, list[dict[str, Any]]]
) -> None:
    events = train_here(make_spec(inputs, objective=FULL_OBJECTIVE, optimizer=FULL_OPTIMIZER), tmp_path)
    assert events[-1]["weightsSha256"] == undisturbed[1][-1]["weightsSha256"]


def test_exports_a_model_that_loads_and_carries_no_code(
    inputs: Path, undisturbed: dict[int, list[dict[str, Any]]]
) -> None:
    done = undisturbed[1][-1]
    folder = Path(done["path"])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    tensors = load_file(folder / "model.safetensors")
    assert weights_sha256(tensors) == done["weightsSha256"]
    model = load_model(folder, torch.float32, "cpu")
    Tokenizer.load(folder, DreamConfig.load(folder))
    base = load_model(inputs / "base", torch.float32, "cpu")
    assert not torch.equal(model.lm_head.weight, base.lm_head.weight)


def test_a_bf16_base_gives_a_bf16_model(inputs: Path, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", torch.bfloat16)
    events = train_here(make_spec(inputs, model=str(base), maxSteps=3), tmp_path / "run")
    tensors = load_file(Path(events[-1]["path"]) / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_again_and_again_at_any_moment_gives_the_same_weights_to_the_bit(
    inputs: Path, tmp_path: Path, ranks: int
) -> None:
    spec, rng = make_spec(inputs, epochs=20), random.Random(ranks)
    undisturbed = train(spec, tmp_path / "undisturbed", ranks)
    moments = ["load", "train", "save", "validation"]
    rng.shuffle(moments)
    attempts = []
    for number, phase in enumerate(moments):
        attempt = tmp_path / f"attempt-{number}"
        moment = seen(1 if phase == "load" else rng.randint(2, 5), type="phase", phase=phase)
        attempts.append(killed(spec, attempt, ranks, moment, after_seconds=rng.uniform(0, 0.01)))
        if saved_steps(attempt):
            spec = resume(spec, newest(attempt))
    last = train(spec, tmp_path / "last", ranks)
    assert last[-1]["weightsSha256"] == undisturbed[-1]["weightsSha256"]
    assert history(tmp_path / "last") == history(tmp_path / "undisturbed")
    # What was trained in the end: of each step the newest attempt at it. Its rows are those of the first.
    effective = {event["step"]: event for events in [*attempts, last] for event in of_type(events, "step")}
    assert sorted(effective) == list(range(1, 61))
    for epoch in range(20):
        rows = [row for event in effective.values() if event["epoch"] == epoch for row in event["rows"]]
        assert sorted(rows) == list(range(10)), "every row once an epoch, over all attempts"
    for event in [event for events in attempts for event in of_type(events, "step")]:
        again = effective[event["step"]]
        assert (event["rows"], event["loss"]) == (again["rows"], again["loss"]), "a replayed step is the same step"


def history(run_dir: Path) -> list[dict[str, Any]]:
    """The curve of all attempts, less what was measured by the clock."""
    check = validator("trainer-history.json")
    records = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    for record in records:
        check.validate(record)
    return [{k: v for k, v in record.items() if k not in ("seconds", "dataSeconds")} for record in records]


@BOTH_RANK_COUNTS
def test_sigterm_saves_the_finished_step_and_resumes_to_the_same_bits(
    inputs: Path, tmp_path: Path, undisturbed: dict[int, list[dict[str, Any]]], ranks: int
) -> None:
    spec = make_spec(inputs)
    spec["checkpoint"]["everySteps"] = 1000
    first = tmp_path / "first"
    process = start(spec, first, ranks)
    wait_for(first, process, has_step(4))
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    before = events_of(first)
    assert not of_type(before, "incident") and not of_type(before, "done")
    saved = of_type(before, "checkpoint")[-1]
    assert saved["reason"] == "preempted"
    assert saved["step"] == of_type(before, "step")[-1]["step"]
    events = train(resume(spec, Path(saved["path"])), tmp_path / "second", ranks)
    assert events[-1]["weightsSha256"] == undisturbed[ranks][-1]["weightsSha256"]


def test_sigterm_while_loading_ends_at_once(inputs: Path, tmp_path: Path) -> None:
    process = start(make_spec(inputs), tmp_path)
    wait_for(tmp_path, process, lambda events: bool(events))
    process.terminate()
    assert process.wait(timeout=30) == 75
    assert not of_type(events_of(tmp_path), "step") and not of_type(events_of(tmp_path), "incident")


def test_resuming_a_finished_training_exports_the_same_model(
    inputs: Path, tmp_path: Path, undisturbed: dict[int, list[dict[str, Any]]]
) -> None:
    last = of_type(undisturbed[1], "checkpoint")[-1]
    events = train_here(resume(make_spec(inputs), Path(last["path"])), tmp_path)
    assert not of_type(events, "step")
    assert not of_type(events, "validation"), "its measurement is in the checkpoint"
    assert events[-1]["weightsSha256"] == undisturbed[1][-1]["weightsSha256"]


def test_another_rank_count_or_micro_batch_trains_the_same_to_rounding(inputs: Path, tmp_path: Path) -> None:
    """Also where the rank count changes on the way: 2 ranks, killed, go on as 1, and back."""
    spec = make_spec(inputs, epochs=7, maxSteps=20, optimizer={"learningRate": 1e-4, "warmupRatio": 0})
    spec["checkpoint"]["everySteps"] = 1
    spec |= {"validateEverySteps": 1}
    as_planned = train_here(spec, tmp_path / "micro-4")
    steps = of_type(as_planned, "step")
    runs = {"micro-1": [train_here(spec | {"microBatchSize": 1}, tmp_path / "micro-1")]}
    runs["changing"] = []
    going = spec
    for number, ranks in enumerate((2, 1)):
        attempt = tmp_path / f"changing-{number}"
        runs["changing"].append(killed(going, attempt, ranks, seen(4, type="checkpoint"), after_seconds=0))
        going = resume(spec, newest(attempt))
    runs["changing"].append(train(going, tmp_path / "changing-2", 2))
    assert [of_type(events, "plan")[0]["ranks"] for events in runs["changing"]] == [2, 1, 2]
    for events in [events for attempts in runs.values() for events in attempts]:
        for event in of_type(events, "step"):
            planned = steps[event["step"] - 1]
            for exactly in ("rows", "tokens", "maskedTokens"):
                assert event[exactly] == planned[exactly], "the same data and noise"
            assert event["loss"] == pytest.approx(planned["loss"], rel=1e-4)
    expected = load_file(Path(as_planned[-1]["path"]) / "model.safetensors")
    tuned = {name: load_file(Path(attempts[-1][-1]["path"]) / "model.safetensors") for name, attempts in runs.items()}
    for weights in tuned.values():
        assert max((weights[key] - expected[key]).abs().max() for key in expected) <= 1e-5
    assert any(not torch.equal(tuned["micro-1"][key], expected[key]) for key in expected)


def test_the_first_gradient_is_the_same_to_rounding_on_more_ranks_or_with_smaller_micro_batches(
    inputs: Path, tmp_path: Path
) -> None:
    """AdamW's first moment after one step is the gradient times 1 − β₁."""
    spec = make_spec(inputs, maxSteps=1, optimizer={"learningRate": 1e-4, "warmupRatio": 0})
    ways = {
        "micro-4": train_here(spec, tmp_path / "micro-4"),
        "micro-1": train_here(spec | {"microBatchSize": 1}, tmp_path / "micro-1"),
        "two-ranks": train(spec, tmp_path / "two-ranks", 2),
    }
    moments = {name: open_checkpoint(newest(tmp_path / name), "tiny").optimizer_tensors() for name in ways}
    first = {
        name: torch.cat([m[key].flatten() for key in sorted(m) if "exp_avg." in key]) for name, m in moments.items()
    }
    for name in ("micro-1", "two-ranks"):
        difference = (first[name] - first["micro-4"]).norm() / first["micro-4"].norm()
        assert 0 < difference <= 1e-5, name


def test_activation_checkpointing_changes_no_bit(
    inputs: Path, tmp_path: Path, undisturbed: dict[int, list[dict[str, Any]]]
) -> None:
    events = train_here(make_spec(inputs, activationCheckpointing=True), tmp_path)
    assert events[-1]["weightsSha256"] == undisturbed[1][-1]["weightsSha256"]


def test_autocast_trains_in_bf16(inputs: Path, tmp_path: Path, undisturbed: dict[int, list[dict[str, Any]]]) -> None:
    events = train_here(make_spec(inputs, recipe="full-fp32", maxSteps=3), tmp_path)
    assert of_type(events, "plan")[0]["recipe"] == "full-fp32"
    losses = [[event["loss"] for event in of_type(run, "step")[:2]] for run in (events, undisturbed[1])]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_left_out_batch_changes_nothing_but_the_schedules_step(inputs: Path, tmp_path: Path) -> None:
    events = train_here(make_spec(inputs, maxSteps=3, leaveOutSteps=[1, 2, 3]), tmp_path)
    steps = of_type(events, "step")
    assert [(event["leftOut"], event["loss"], event["gradNorm"]) for event in steps] == [(True, 0.0, 0.0)] * 3
    assert steps[1]["learningRate"] > 0
    tuned = load_file(Path(events[-1]["path"]) / "model.safetensors")
    base = load_file(inputs / "base" / "model.safetensors")
    assert all(torch.equal(tuned[name], base[name]) for name in base)


def test_an_infinite_weight_diverges_before_any_update(inputs: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    base = make_model(tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    tensors["lm_head.weight"][5, 5] = float("inf")
    save_file(tensors, base / "model.safetensors")
    events = train_here(make_spec(inputs, model=str(base)), tmp_path / "run", expect=1)
    found = incident(events)
    assert found["kind"] == "Diverged" and found["step"] == 1
    assert len(found["details"]["rows"]) == 4 and found["details"]["reason"] == "not finite"
    assert not of_type(events, "step")


REFUSED = {
    "a flipped bit": ("with SHA-256", True),
    "a missing file": ("expected every file of its manifest", True),
    "no manifest": ("no readable manifest.json", True),
    "another training": ("identity tiny; expected other, that of this training; resume from a checkpoint of", False),
    "a newer trainer": ("version 3; expected version 1 or 2, all that this trainer knows; upgrade the trainer", False),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_or_foreign_checkpoint_is_refused_and_only_the_damaged_one_is_called_so(
    inputs: Path, tmp_path: Path, undisturbed: dict[int, list[dict[str, Any]]], case: str
) -> None:
    folder = tmp_path / "step-12"
    shutil.copytree(of_type(undisturbed[1], "checkpoint")[-1]["path"], folder)
    spec = resume(make_spec(inputs), folder)
    victim, manifest = next(folder.glob("optimizer-*")), folder / "manifest.json"
    if case == "a flipped bit":
        content = bytearray(victim.read_bytes())
        content[-1] ^= 1
        victim.write_bytes(content)
    elif case == "a missing file":
        victim.unlink()
    elif case == "no manifest":
        manifest.unlink()
    elif case == "another training":
        spec["identity"] = "other"
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 3, "surprise": {}}))
    found = incident(train_here(spec, tmp_path / "run", expect=2))
    told, damaged = REFUSED[case]
    assert found["kind"] == "InvalidSpec" and told in found["message"]
    assert found["details"] == ({"damaged": True} if damaged else {})


def test_checkpoints_follow_the_contract(undisturbed: dict[int, list[dict[str, Any]]]) -> None:
    check = validator("checkpoint-manifest.json")
    folders = list(Path(undisturbed[2][-1]["path"]).parent.joinpath("checkpoints").iterdir())
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        check.validate(manifest)
        assert folder.name == f"step-{manifest['step']}"
        names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
        assert sorted(file["path"] for file in manifest["files"]) == names
        assert {"weights-00000-00000.safetensors", "optimizer-00001-00000.safetensors", "history.jsonl"} <= set(names)
    assert len(folders) in (2, 3)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": (
        {"microBatch": 1},
        "unknown field microBatch; expected a known field, the nearest is micro",
    ),
    "wrong type": ({"seed": "1"}, 'spec, seed: found "1"; expected an integer of at least 0'),
    "nested": ({"objective": {"cartP": 1}}, "spec, objective.cartP: found 1; expected a number, above 0, below 1"),
    "no model": ({"model": "/nowhere"}, "model folder /nowhere: found no config.json"),
    "no data": ({"trainData": "/nowhere"}, "data /nowhere: found no file"),
    "too long": ({"maxTokens": 1000}, "spec, maxTokens: found 1000; expected at most 512"),
    "long row": ({"maxTokens": 30}, "(maxTokens)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_2_and_says_why(
    inputs: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, told = BAD[name]
    found = incident(train_here(make_spec(inputs) | changes, tmp_path, expect=2))
    assert found["kind"] == "InvalidSpec"
    assert told in found["message"] and found["message"] in capsys.readouterr().err


def test_a_spec_that_is_not_json_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{")
    command = [sys.executable, "-m", "dream_trainer", "train", "--spec", str(tmp_path / "spec.json")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer")}
    assert subprocess.run([*command, "--run-dir", str(tmp_path)], env=environment, capture_output=True).returncode == 2
    assert "text that is not JSON" in incident(events_of(tmp_path))["message"]


def test_dies_with_its_parent(inputs: Path, tmp_path: Path) -> None:
    spec = make_spec(inputs, epochs=2000)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "dream_trainer", "train", "--spec", str(tmp_path / "spec.json")]
    command += ["--run-dir", str(tmp_path)]
    code = f"import subprocess, time; print(subprocess.Popen({command!r}).pid, flush=True); time.sleep(120)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer")}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(tmp_path, parent, has_step(1))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    if alive(child):
        os.kill(child, signal.SIGKILL)
        pytest.fail("the trainer outlived its parent")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
