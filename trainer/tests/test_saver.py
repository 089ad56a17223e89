"""Saving behind training: what is kept, what is on disk, and what a full disk does."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import tokenize
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dream_trainer import saver as saver_module
from dream_trainer.cadence import Cadence
from dream_trainer.checkpoint import open_checkpoint, seal, share_of
from dream_trainer.distributed import Ranks
from dream_trainer.events import Events
from dream_trainer.failures import TrainerFailure
from dream_trainer.saver import Saver
from dream_trainer.spec import CheckpointSpec

from .reference import REPOSITORY

ALONE = Ranks(0, 1, torch.device("cpu"))


def make_saver(run_dir: Path) -> Saver:
    return Saver(run_dir, "key", "fp32", ALONE, Events(run_dir, 0), state(0))


def state(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "weights": {"w": torch.full((1000,), float(value))},
        "optimizer": {"m": torch.zeros(3), "n": torch.ones(())},
    }


def save(saver: Saver, step: int, loss: float | None = None) -> None:
    saver.save(step, state(step), [json.dumps({"step": step})], loss, "cadence")
    saver.wait(required=True)


def kept(run_dir: Path) -> set[str]:
    return {path.name for path in (run_dir / "checkpoints").iterdir()}


def test_keeps_the_newest_two_the_best_and_what_is_held(tmp_path: Path) -> None:
    saver = make_saver(tmp_path)
    save(saver, 9)
    (tmp_path / "checkpoints" / "step-9" / ".hold").touch()
    for step, loss in ((10, 3.0), (11, 1.0), (12, 2.0), (13, 2.5), (100, 2.75)):
        save(saver, step, loss)
    assert kept(tmp_path) == {"step-9", "step-11", "step-13", "step-100"}
    (tmp_path / "checkpoints" / "step-9" / ".hold").unlink()
    save(saver, 101, 0.5)
    assert kept(tmp_path) == {"step-100", "step-101"}
    for step in (102, 103, 104):
        save(saver, step, 0.5)
    assert kept(tmp_path) == {"step-101", "step-103", "step-104"}, "later ones repeat the measurement of step 101"


def test_a_checkpoint_that_is_held_just_as_it_is_deleted_comes_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, rename = make_saver(tmp_path), Path.rename

    def held_meanwhile(path: Path, target: Path) -> Path:
        if target.name == "step-1.removed":
            (path / ".hold").touch()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", held_meanwhile)
    for step in (1, 2, 3):
        save(saver, step)
    assert kept(tmp_path) == {"step-1", "step-2", "step-3"}
    open_checkpoint(tmp_path / "checkpoints" / "step-1", "key")


def test_a_save_is_of_the_moment_it_was_asked_for(tmp_path: Path) -> None:
    saver, changing = make_saver(tmp_path), state(0)
    saver.save(1, changing, ["{}"], None, "cadence")
    changing["weights"]["w"].fill_(1)
    saver.wait(required=True)
    checkpoint = open_checkpoint(tmp_path / "checkpoints" / "step-1", "key")
    assert not load_file(checkpoint.weight_files[0])["w"].any()
    assert {name: tensor.tolist() for name, tensor in checkpoint.optimizer_tensors().items()} == {"m": [0] * 3, "n": 1}


@pytest.mark.parametrize("sets", [1, 2])
def test_a_save_waits_only_where_every_buffer_is_still_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: int
) -> None:
    write, may_write = saver_module.write_tensors, threading.Event()

    def slowly(*arguments: Any) -> Any:
        assert may_write.wait(30)
        return write(*arguments)

    monkeypatch.setattr(saver_module, "write_tensors", slowly)
    if sets == 1:
        monkeypatch.setattr(saver_module, "TWO_BUFFERS_BYTES", 4000)  # Less than the state.
    saver = make_saver(tmp_path)
    for step in range(1, sets + 1):
        saver.save(step, state(step), [], None, "cadence")
    assert not saver.ready
    threading.Timer(0.3, may_write.set).start()
    assert saver.save(9, state(9), [], None, "cadence") >= 0.25, "one more had to wait"
    saver.wait(required=True)
    assert saver.ready
    for step in (sets, 9):
        weights = open_checkpoint(tmp_path / "checkpoints" / f"step-{step}", "key").weight_files
        assert set(load_file(weights[0])["w"].tolist()) == {step}


def test_a_save_takes_no_more_memory_than_its_buffers_and_training_goes_on_meanwhile(tmp_path: Path) -> None:
    """In a process of its own, whose peak is then the save's."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.measure_saves", str(tmp_path), "--megabytes", "240"]
    told = subprocess.run(command, env=environment, cwd=REPOSITORY / "trainer", capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    print(told.stdout)
    figures = json.loads(told.stdout)
    assert figures["equal"]
    assert figures["hostMemory"] <= 2.1, "times the state, during two saves"
    assert figures["longestPauseSeconds"] < 1, "of a thread that computes while the other writes and hashes"


def test_removes_what_a_killed_attempt_left_half_written(tmp_path: Path) -> None:
    for leftover in ("step-3.partial", "step-1.removed"):
        (tmp_path / "checkpoints" / leftover).mkdir(parents=True)
    make_saver(tmp_path)
    assert kept(tmp_path) == set()


def test_a_full_disk_is_forgiven_until_the_save_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    saver = make_saver(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "write_tensors", full)
        saver.save(1, state(1), [], None, "cadence")
        saver.wait(required=False)
        assert kept(tmp_path) == set() and saver.saved_step is None
        saver.save(2, state(2), [], None, "final")
        with pytest.raises(TrainerFailure) as caught:
            saver.wait(required=True)
    assert caught.value.kind == "DiskFull"
    save(saver, 3)
    assert kept(tmp_path) == {"step-3"}


def test_a_really_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """/dev/full says ENOSPC on every write, through safetensors too."""
    if not Path("/dev/full").exists():
        pytest.skip("NO FULL DISK: /dev/full is Linux")
    saver = make_saver(tmp_path)
    partial = tmp_path / "checkpoints" / "step-1.partial"
    partial.mkdir()
    (partial / "history.jsonl").symlink_to("/dev/full")
    saver.save(1, state(1), ["{}"], None, "final")
    with pytest.raises(TrainerFailure) as caught:
        saver.wait(required=True)
    assert caught.value.kind == "DiskFull"


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    saver = make_saver(tmp_path)
    save(saver, 1)
    folder = tmp_path / "checkpoints" / "step-1"
    manifest = json.loads((folder / "manifest.json").read_text())
    shutil.copyfile(folder / "history.jsonl", tmp_path / "outside")
    entry = next(file for file in manifest["files"] if file["path"] == "history.jsonl")
    manifest["files"].append(entry | {"path": "../../outside"})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TrainerFailure, match=r"expected safetensors and history\.jsonl only"):
        open_checkpoint(folder, "key")


def test_a_share_that_could_not_be_written_fails_the_save_on_every_rank_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = saver_module.write_tensors

    def full_for_one(folder: Path, share: Any, rank: int, pieces: Any) -> Any:
        if rank == failing:
            raise OSError(28, "No space left on device")
        return write(folder, share, rank, pieces)

    monkeypatch.setattr(saver_module, "write_tensors", full_for_one)
    ranks = [Ranks(rank, 2, torch.device("cpu")) for rank in (0, 1)]
    savers = [Saver(tmp_path, "key", "fp32", rank, Events(tmp_path, rank.rank), state(0)) for rank in ranks]
    for step, failing in enumerate((0, 1, None), start=1):
        for saver in savers:
            saver.save(step, state(step), [], None, "cadence")
        for saver in savers:
            saver.wait(required=False)
        assert kept(tmp_path) == (set() if failing is not None else {"step-3"})
    names = [path.name for path in open_checkpoint(tmp_path / "checkpoints" / "step-3", "key").folder.iterdir()]
    assert not [name for name in names if name.startswith("rank-")]


def test_no_pickle_in_a_checkpoints_folder_is_ever_opened(tmp_path: Path) -> None:
    class Marks:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "opened",)

    save(make_saver(tmp_path), 1)
    folder = tmp_path / "checkpoints" / "step-1"
    whole = json.loads((folder / "manifest.json").read_text())
    for name in ("optimizer.pt", "weights-00000-00000.pkl", "rng_state.pth", "optimizer-00000-00001.safetensors"):
        (folder / name).write_bytes(pickle.dumps(Marks()))
        open_checkpoint(folder, "key").optimizer_tensors()  # It lies there, and nobody asks for it.
        named = whole | {"files": [*whole["files"], seal(folder / name).to_json()]}
        (folder / "manifest.json").write_text(json.dumps(named))
        with pytest.raises((TrainerFailure, SafetensorError)):
            open_checkpoint(folder, "key").optimizer_tensors()
        (folder / "manifest.json").write_text(json.dumps(whole))
    assert not (tmp_path / "opened").exists()
    pickle.loads((folder / "optimizer.pt").read_bytes())
    assert (tmp_path / "opened").exists(), "these pickles would have been noticed"


def test_the_package_has_no_means_to_open_a_pickle() -> None:
    unpickling = re.compile(r"pickle|torch\.load\b|torch\.save\b|joblib|shelve|marshal|allow_pickle|numpy\.load\b")
    for file in sorted((REPOSITORY / "trainer" / "dream_trainer").glob("*.py")):
        code = [
            token.string for token in tokenize.generate_tokens(file.open().readline) if token.type != tokenize.STRING
        ]
        assert not unpickling.search("".join(word for word in code if not word.startswith("#"))), file.name


def test_ranks_share_all_tensors_without_overlap() -> None:
    sizes = {f"layer.{number}": (number % 7 + 1) * 100 for number in range(50)}
    for ranks in (1, 2, 3, 8):
        shares = [share_of(sizes, rank, ranks) for rank in range(ranks)]
        assert sorted(name for share in shares for name in share) == sorted(sizes)
        largest = max(sum(sizes[name] for name in share) for share in shares)
        assert largest <= sum(sizes.values()) / ranks + 1400


def cadence(**changes: object) -> Cadence:
    fields: dict[str, object] = {"resume_from": None, "every_steps": None, "expected_seconds_between_preemptions": 7200}
    return Cadence(CheckpointSpec(**(fields | {"min_seconds": 60, "max_seconds": 900} | changes)), now=0)


def test_cadence_follows_young_and_daly_between_floor_and_ceiling() -> None:
    timed = cadence()
    assert timed.interval_seconds == 60, "the floor, until a save was measured"
    timed.saved(now=100, stall_seconds=4)
    assert timed.interval_seconds == 240  # √(2 · 4 · 7200)
    assert not timed.due(7, 339, ready=True) and timed.due(7, 340, ready=True) and not timed.due(7, 340, ready=False)
    timed.saved(now=0, stall_seconds=1000)
    assert timed.interval_seconds == 900
    fixed = cadence(every_steps=5)
    assert [step for step in range(1, 16) if fixed.due(step, 0, ready=False)] == [5, 10, 15]


def test_an_event_waits_for_the_room_that_a_failed_save_gives_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writes = os.write, 0

    def scarce(descriptor: int, data: bytes) -> int:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:5] if writes == 1 else data)

    events = Events(tmp_path, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", scarce)
        events.phase("train")
    assert writes == 3
    assert json.loads((tmp_path / "events.jsonl").read_text())["phase"] == "train"
