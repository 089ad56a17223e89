"""Saves checkpoints behind training: the loop waits for the copy to host memory, a thread writes and hashes it.

Each rank writes its rows of what is sharded, a share of the other tensors, and then a note `rank-<r>.json` with their
hashes; rank 0 waits for all notes, writes the manifest and renames the folder. Ranks share the run directory.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .buffers import Buffers, BufferSets
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
from .pieces import Pieces

KEEP_NEWEST = 2
HOLD = ".hold"
"""A file of this name in a checkpoint's folder keeps it from being deleted, while someone uploads it."""

TWO_BUFFERS_BYTES = 25_000_000_000
"""Up to this size of the state, over all ranks, a save may begin while the one before is still being written."""

_NOTE_SECONDS = 0.02
_LAST_NOTE_SECONDS = 600.0
"""How much longer than rank 0 another rank may take to write its share."""

State = Mapping[str, Mapping[str, Tensor]]
"""Tensors by kind (`weights`, `optimizer`) and name."""


@dataclass(frozen=True)
class _Save:
    step: int
    buffers: Buffers
    history: str
    validation_loss: float | None
    reason: str
    started: float
    stall_seconds: float


class Saver:
    def __init__(
        self,
        run_dir: Path,
        identity: str,
        recipe: str,
        ranks: Ranks,
        events: Events,
        state: State,
        pieces: Mapping[str, Pieces] = MappingProxyType({}),
        stored_dtype: str | None = None,
    ) -> None:
        """`state` tells the shapes alone, so that buffers can be allocated while the state is still being loaded;
        `pieces`, by kind, of which tensors this rank has some rows: it writes these itself."""
        self._parent = run_dir / "checkpoints"
        self._identity, self._recipe, self._stored_dtype = identity, recipe, stored_dtype
        self._ranks = ranks
        self._events = events
        self._pieces = {kind: pieces.get(kind, {}) for kind in state}
        self._share = {
            kind: [
                *share_of(
                    {name: tensor.nbytes for name, tensor in tensors.items() if name not in self._pieces[kind]},
                    ranks.rank,
                    ranks.count,
                ),
                *sorted(self._pieces[kind]),
            ]
            for kind, tensors in state.items()
        }
        state_bytes = sum(
            tensor.itemsize * math.prod(self._pieces[kind][name].shape if name in self._pieces[kind] else tensor.shape)
            for kind, tensors in state.items()
            for name, tensor in tensors.items()
        )
        self._buffers = BufferSets(self._mine(state), 2 if state_bytes <= TWO_BUFFERS_BYTES else 1, ranks.device)
        self._writer = ThreadPoolExecutor(1, "save")
        self._under_way: deque[tuple[int, Future[None]]] = deque()
        self.saved_step: int | None = None
        if ranks.rank == 0:
            self._parent.mkdir(parents=True, exist_ok=True)
            for leftover in (*self._parent.glob("*.partial"), *self._parent.glob("*.removed")):
                shutil.rmtree(leftover)

    @property
    def ready(self) -> bool:
        """Whether a save could begin now without waiting for another."""
        return self._buffers.available

    def wait_for_buffers(self) -> None:
        self._buffers.wait()

    def save(
        self, step: int, state: State, history: Sequence[str], validation_loss: float | None, reason: str
    ) -> float:
        """Copies the state to host memory and leaves the rest to a thread; returns the seconds of standstill."""
        started = time.monotonic()
        buffers = self._buffers.take()
        while self._under_way and self._under_way[0][1].done():
            self._end_oldest(required=False)
        for key, tensor in self._mine(state).items():
            buffers[key].copy_(tensor, non_blocking=True)
        if self._ranks.device.type == "cuda":
            torch.cuda.current_stream().synchronize()
        lines = "".join(line + "\n" for line in history)
        self.saved_step = step
        stall_seconds = time.monotonic() - started
        save = _Save(step, buffers, lines, validation_loss, reason, started, stall_seconds)
        self._under_way.append((step, self._writer.submit(self._write, save)))
        return stall_seconds

    def wait(self, required: bool) -> None:
        """Waits for all saves under way. A full disk is forgiven, as the next may succeed, but not to the last one if
        that is required."""
        while self._under_way:
            self._end_oldest(required and len(self._under_way) == 1)

    def settle(self, timeout_seconds: float) -> None:
        """Gives saves under way some time to end, whatever comes of them."""
        wait_for([future for _, future in self._under_way], timeout_seconds)

    def _end_oldest(self, required: bool) -> None:
        step, future = self._under_way.popleft()
        error = future.exception()
        if error is None:
            return
        if self.saved_step == step:
            self.saved_step = None
        failure = classify(error, "save", None)
        if required or failure.kind != "DiskFull":
            raise failure from error
        print(f"dream_trainer: a save failed and will be tried again: {failure.message}", file=sys.stderr)

    def _mine(self, state: State) -> dict[str, Tensor]:
        return {f"{kind}/{name}": state[kind][name].detach() for kind, names in self._share.items() for name in names}

    def _write(self, save: _Save) -> None:
        folder = checkpoint_folder(self._parent, save.step)
        partial = folder.with_name(folder.name + ".partial")
        if self._ranks.rank > 0:
            self._write_share(partial, save)
            return
        try:
            try:
                entries = self._write_share(partial, save)
            finally:
                self._await_notes(partial)  # The folder is not removed while another rank writes into it.
            entries += self._take_notes(partial)
            entries.append(write_text(partial / HISTORY, save.history))
            told = (self._identity, self._recipe, save.step, save.validation_loss, entries)
            write_manifest(partial, *told, stored_dtype=self._stored_dtype, in_pieces=any(self._pieces.values()))
            sync_folder(partial)
            if folder.exists():  # Left by an earlier attempt in the same run directory: the same bytes again.
                shutil.rmtree(folder)
            partial.rename(folder)
            sync_folder(self._parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._events.emit(
            "checkpoint",
            step=save.step,
            path=str(folder),
            bytes=sum(entry.size for entry in entries),
            stallSeconds=save.stall_seconds,
            seconds=time.monotonic() - save.started,
            reason=save.reason,
        )
        self._retain()

    def _write_share(self, partial: Path, save: _Save) -> list[FileEntry]:
        rank = self._ranks.rank
        try:
            partial.mkdir(parents=True, exist_ok=True)
            share = {
                kind: {name: save.buffers[f"{kind}/{name}"] for name in names} for kind, names in self._share.items()
            }
            entries = write_tensors(partial, share, rank, self._pieces)
        except BaseException as error:
            if rank > 0:
                for file in partial.glob(f"*-{rank:05d}-*"):  # On a full disk the note finds room in their place.
                    file.unlink()
                self._leave_note(partial, {"error": f"{type(error).__name__}: {error}"})
            raise
        finally:
            self._buffers.give_back(save.buffers)
        if rank > 0:
            self._leave_note(partial, {"files": [entry.to_json() for entry in entries]})
        return entries

    def _leave_note(self, partial: Path, note: dict[str, Any]) -> None:
        draft = partial / f"rank-{self._ranks.rank}.draft"
        draft.write_text(json.dumps(note), encoding="utf-8")
        draft.rename(draft.with_suffix(".json"))

    def _notes(self, partial: Path) -> list[Path]:
        return [partial / f"rank-{rank}.json" for rank in range(1, self._ranks.count)]

    def _await_notes(self, partial: Path) -> None:
        deadline = time.monotonic() + _LAST_NOTE_SECONDS
        for note in self._notes(partial):
            while not note.exists():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no {note.name} after {_LAST_NOTE_SECONDS:g} s: that rank's share is missing")
                time.sleep(_NOTE_SECONDS)

    def _take_notes(self, partial: Path) -> list[FileEntry]:
        entries = []
        for path in self._notes(partial):
            note = json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
            if "error" in note:
                raise OSError(f"{path.stem} could not write its share: {note['error']}")
            entries += [FileEntry(**entry) for entry in note["files"]]
        return entries

    def _retain(self) -> None:
        """Keeps the newest two and the best by validation loss; what is held stays too."""
        steps = {step: folder for folder in self._parent.iterdir() if (step := step_of(folder)) is not None}
        losses = {step: (read_manifest(folder) or {}).get("validationLoss") for step, folder in steps.items()}
        # Later checkpoints repeat the newest measurement: the lowest step with it is the one that was measured.
        _, best = min(((loss, step) for step, loss in losses.items() if loss is not None), default=(None, None))
        for step in sorted(steps)[:-KEEP_NEWEST]:
            folder = steps[step]
            if step == best or (folder / HOLD).exists():
                continue
            # Renamed first and asked again: whoever holds it in between gets it back whole.
            doomed = folder.with_name(folder.name + ".removed")
            folder.rename(doomed)
            if (doomed / HOLD).exists():
                doomed.rename(folder)
            else:
                shutil.rmtree(doomed)
