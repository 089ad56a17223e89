"""Saving behind training: what is kept, what is on disk, and what a full disk does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from dream_trainer import saver as saver_module
from dream_trainer.cadence import Cadence
from dream_trainer.checkpoint import open_checkpoint, share_of
from dream_trainer.distributed import Ranks
from dream_trainer.events import Events
from dream_trainer.failures import TrainerFailure
from dream_trainer.saver import Saver
from dream_trainer.spec import CheckpointSpec

ALONE = Ranks(0, 1, torch.device("cpu"))


def make_saver(run_dir: Path) -> Saver:
    return Saver(run_dir, "key", ALONE, Events(run_dir, 0))


def save(saver: Saver, step: int, loss: float | None = None) -> None:
    state = {"w": torch.full((4,), float(step))}
    saver.save(step, state, {"m": torch.zeros(2)}, [json.dumps({"step": step})], loss, "cadence")
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


def test_a_save_is_of_the_moment_it_was_asked_for(tmp_path: Path) -> None:
    saver, weights = make_saver(tmp_path), {"w": torch.zeros(1000)}
    saver.save(1, weights, {"m": torch.zeros(2)}, ["{}"], None, "cadence")
    weights["w"].fill_(1)
    saver.wait(required=True)
    checkpoint = open_checkpoint(tmp_path / "checkpoints" / "step-1", "key")
    from safetensors.torch import load_file

    assert not load_file(checkpoint.weight_files[0])["w"].any()


def test_removes_what_a_killed_attempt_left_half_written(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-3.partial").mkdir(parents=True)
    make_saver(tmp_path)
    assert kept(tmp_path) == set()


def test_a_full_disk_is_forgiven_until_the_save_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    saver = make_saver(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "write_tensors", full)
        saver.save(1, {"w": torch.zeros(4)}, {}, [], None, "cadence")
        saver.wait(required=False)
        assert kept(tmp_path) == set() and saver.saved_step is None
        saver.save(2, {"w": torch.zeros(4)}, {}, [], None, "final")
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
    saver.save(1, {"w": torch.zeros(1)}, {"m": torch.zeros(1)}, ["{}"], None, "final")
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
    with pytest.raises(TrainerFailure, match="expected names of files in the folder"):
        open_checkpoint(folder, "key")


def test_ranks_share_all_tensors_without_overlap() -> None:
    sizes = {f"layer.{number}": (number % 7 + 1) * 100 for number in range(50)}
    for ranks in (1, 2, 3, 8):
        shares = [share_of(sizes, rank, ranks) for rank in range(ranks)]
        assert sorted(name for share in shares for name in share) == sorted(sizes)
        largest = max(sum(sizes[name] for name in share) for share in shares)
        assert largest <= sum(sizes.values()) / ranks + 1400


def cadence(**changes: object) -> Cadence:
    fields: dict[str, object] = {"resume_from": None, "every_steps": None, "expected_seconds_between_preemptions": 7200}
    return Cadence(CheckpointSpec(**(fields | {"min_seconds": 60, "max_seconds": 900} | changes)), now=0)  # type: ignore[arg-type]


def test_cadence_follows_young_and_daly_between_floor_and_ceiling() -> None:
    timed = cadence()
    assert timed.interval_seconds == 60, "the floor, until a save was measured"
    timed.saved(now=100, stall_seconds=4)
    assert timed.interval_seconds == 240  # √(2 · 4 · 7200)
    assert not timed.due(7, 339, False) and timed.due(7, 340, False) and not timed.due(7, 340, True)
    timed.saved(now=0, stall_seconds=1000)
    assert timed.interval_seconds == 900
    fixed = cadence(every_steps=5)
    assert [step for step in range(1, 16) if fixed.due(step, 0, True)] == [5, 10, 15]
