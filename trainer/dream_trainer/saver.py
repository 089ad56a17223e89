"""Saves checkpoints behind training: the loop waits for the copy to host memory, a thread writes and hashes it.

Each rank writes a share of the tensors and then a note `rank-<r>.json` with their hashes; rank 0 waits for all notes,
writes the manifest and renames the folder. Ranks share the run directory.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoint import (
    HISTORY,
    FileEntry,
    checkpoint_folder,
    read_manifest,
    share_of,
    step_of,
    sync_folder,
    write_manifest,
    write_tensors,
    write_text,
)
from .classify import classify
from .distributed import Ranks
from .events import Events

KEEP_NEWEST = 2
HOLD = ".hold"
"""A file of this name in a checkpoint's folder keeps it from being deleted, while someone uploads it."""

_NOTE_SECONDS = 0.02


class Saver:
    def __init__(self, run_dir: Path, identity: str, ranks: Ranks, events: Events) -> None:
        self._parent = run_dir / "checkpoints"
        self._identity = identity
        self._ranks = ranks
        self._events = events
        self._buffers: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.saved_step: int | None = None
        if ranks.rank == 0:
            self._parent.mkdir(parents=True, exist_ok=True)
            for stale in self._parent.glob("*.partial"):
                shutil.rmtree(stale)

    @property
    def in_flight(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def save(
        self,
        step: int,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        history: Sequence[str],
        validation_loss: float | None,
        reason: str,
    ) -> float:
        """Copies the state to host memory and leaves the rest to a thread; returns the seconds of standstill."""
        started = time.monotonic()
        self.wait(required=False)
        snapshots = {
            kind: self._snapshot(kind, tensors) for kind, tensors in (("weights", weights), ("optimizer", optimizer))
        }
        lines = "".join(line + "\n" for line in history)
        self.saved_step = step
        stall_seconds = time.monotonic() - started
        self._thread = threading.Thread(
            target=self._write,
            args=(step, snapshots, lines, validation_loss, reason, started, stall_seconds),
            name=f"save-step-{step}",
            daemon=True,
        )
        self._thread.start()
        return stall_seconds

    def wait(self, required: bool) -> None:
        """Waits for the save in flight. A full disk is forgiven unless the save is required: the next may succeed."""
        if self._thread is None:
            return
        self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is None:
            return
        self.saved_step = None
        failure = classify(error, "save", None)
        if required or failure.kind != "DiskFull":
            raise failure from error
        print(f"dream_trainer: a save failed and will be tried again: {failure.message}", file=sys.stderr)

    def settle(self, timeout_seconds: float) -> None:
        """Gives a save under way some time to end, whatever comes of it."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _snapshot(self, kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        share = share_of({name: tensor.nbytes for name, tensor in tensors.items()}, self._ranks.rank, self._ranks.count)
        copies: dict[str, Tensor] = {}
        for name in share:
            tensor, key = tensors[name].detach(), f"{kind}/{name}"
            if key not in self._buffers:  # Pinning is slow: buffers are kept, as only one save is in flight.
                self._buffers[key] = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            copies[name] = self._buffers[key].copy_(tensor, non_blocking=True)
        if self._ranks.device.type == "cuda":
            torch.cuda.synchronize()
        return copies

    def _write(
        self,
        step: int,
        snapshots: dict[str, dict[str, Tensor]],
        history: str,
        validation_loss: float | None,
        reason: str,
        started: float,
        stall_seconds: float,
    ) -> None:
        folder = checkpoint_folder(self._parent, step)
        partial = folder.with_name(folder.name + ".partial")
        try:
            partial.mkdir(parents=True, exist_ok=True)
            entries = [
                entry
                for kind, tensors in snapshots.items()
                for entry in write_tensors(partial, kind, tensors, self._ranks.rank)
            ]
            if self._ranks.rank > 0:
                self._leave_note(partial, {"files": [entry.to_json() for entry in entries]})
                return
            entries.append(write_text(partial / HISTORY, history))
            entries += self._gather_notes(partial)
            write_manifest(partial, self._identity, step, validation_loss, entries)
            sync_folder(partial)
            if folder.exists():  # Left by an earlier attempt in the same run directory: the same bytes again.
                shutil.rmtree(folder)
            partial.rename(folder)
            sync_folder(self._parent)
            self._events.emit(
                "checkpoint",
                step=step,
                path=str(folder),
                bytes=sum(entry.size for entry in entries),
                stallSeconds=stall_seconds,
                seconds=time.monotonic() - started,
                reason=reason,
            )
            self._retain()
        except BaseException as error:
            self._error = error
            if self._ranks.rank > 0:
                self._leave_note(partial, {"error": f"{type(error).__name__}: {error}"})
            else:
                shutil.rmtree(partial, ignore_errors=True)

    def _leave_note(self, partial: Path, note: dict[str, Any]) -> None:
        path = partial / f"rank-{self._ranks.rank}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(note), encoding="utf-8")
        draft.rename(path)

    def _gather_notes(self, partial: Path) -> list[FileEntry]:
        entries = []
        for rank in range(1, self._ranks.count):
            path = partial / f"rank-{rank}.json"
            while not path.exists():
                time.sleep(_NOTE_SECONDS)
            note = json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
            if "error" in note:
                raise OSError(f"rank {rank} could not write its share: {note['error']}")
            entries += [FileEntry(**entry) for entry in note["files"]]
        return entries

    def _retain(self) -> None:
        """Keeps the newest two and the best by validation loss; what is held stays too."""
        folders = [folder for folder in self._parent.iterdir() if step_of(folder) is not None]
        newest_first = sorted(folders, key=lambda folder: step_of(folder) or 0, reverse=True)
        losses: dict[Path, float | None] = {
            folder: (read_manifest(folder) or {}).get("validationLoss") for folder in newest_first
        }
        measured = [(loss, place) for place, folder in enumerate(newest_first) if (loss := losses[folder]) is not None]
        best = newest_first[min(measured)[1]] if measured else None
        for folder in newest_first[KEEP_NEWEST:]:
            if folder == best or (folder / HOLD).exists():
                continue
            # Renamed first and asked again: whoever holds it in between gets it back whole.
            doomed = folder.with_name(folder.name + ".removed")
            folder.rename(doomed)
            if (doomed / HOLD).exists():
                doomed.rename(folder)
            else:
                shutil.rmtree(doomed)
