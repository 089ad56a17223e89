"""A checkpoint's format: `step-<n>/` with sharded safetensors, the history so far, and a manifest of SHA-256s.

A checkpoint is written into `step-<n>.partial`, every file and then the folder synced, and renamed: a folder that is
called `step-<n>` is complete, whatever moment the machine died in. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .failures import TrainerFailure, invalid
from .pieces import Piece, Pieces, metadata_of, stored_tensors
from .weights import split_shards

MANIFEST = "manifest.json"
HISTORY = "history.jsonl"

_WHOLE, _IN_PIECES = 1, 2
"""Versions of the format: earlier trainers know no pieces of tensors."""

_NAME = re.compile(r"(weights|optimizer)-\d{5}-\d{5}\.safetensors|" + re.escape(HISTORY))
"""Every file that a checkpoint may have beside its manifest; above all no pickle, and no path out of the folder."""

_SHARD_BYTES = 1_000_000_000
"""Smaller than a model's shards: several are written and hashed side by side."""

_SHARDS_AT_ONCE = 4
_READ_AT_ONCE = 16
"""Training waits for what is read, so that all of a host's cores may hash."""


@dataclass(frozen=True)
class FileEntry:
    path: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk."""

    step: int
    folder: Path
    files: list[str]
    history: list[str]
    """Lines of history.jsonl without their ends."""
    recipe: str | None
    """Of the training that wrote it; unknown of the earliest checkpoints, which were all in float32."""
    stored_dtype: str | None = None
    """In which the base stores its weights, and so an export: whoever goes on need not have them here to know."""

    @property
    def weight_files(self) -> list[Path]:
        return [self.folder / name for name in self.files if name.startswith("weights-")]

    def optimizer_tensors(self, pieces: Pieces = MappingProxyType({})) -> dict[str, Tensor]:
        """All of them; of those in `pieces` the rows that they tell."""
        files = [self.folder / name for name in self.files if name.startswith("optimizer-")]

        def read(file: Path) -> list[tuple[str, int, Tensor]]:
            found = []
            for name, stored, rows in stored_tensors(file):
                wanted = pieces.get(name, Piece(0, stored.shape[0] if stored.shape else 1, stored.shape))
                start, stop = max(stored.start, wanted.start), min(stored.stop, wanted.stop)
                if start < stop:
                    found.append((name, start, rows(start, stop)))
            return found

        with ThreadPoolExecutor(_READ_AT_ONCE, "shard") as pool:
            found = sorted((run for runs in pool.map(read, files) for run in runs), key=lambda run: run[:2])
        runs: dict[str, list[Tensor]] = {}
        for name, _, rows in found:
            runs.setdefault(name, []).append(rows)
        return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in runs.items()}


def checkpoint_folder(parent: Path, step: int) -> Path:
    return parent / f"step-{step}"


def step_of(folder: Path) -> int | None:
    """The step of a complete checkpoint's folder, by its name; None for anything else."""
    match = re.fullmatch(r"step-(\d+)", folder.name)
    return int(match.group(1)) if match else None


def share_of(names_and_bytes: Mapping[str, int], rank: int, ranks: int) -> list[str]:
    """The tensors that this rank writes: a run of the sorted names, of about 1/ranks of all bytes."""
    total = max(1, sum(names_and_bytes.values()))
    mine, passed = [], 0
    for name in sorted(names_and_bytes):
        if min(ranks - 1, passed * ranks // total) == rank:
            mine.append(name)
        passed += names_and_bytes[name]
    return mine


def write_tensors(
    folder: Path, state: Mapping[str, Mapping[str, Tensor]], rank: int, pieces: Mapping[str, Pieces]
) -> list[FileEntry]:
    """Writes `<kind>-<rank>-<number>.safetensors` shards, synced, and takes their hashes; a few at once. `pieces`, by
    kind, are of tensors that are not whole."""
    shards = {
        folder / f"{kind}-{rank:05d}-{number:05d}.safetensors": (
            {name: tensors[name] for name in names},
            metadata_of({name: pieces[kind][name] for name in names if name in pieces[kind]}),
        )
        for kind, tensors in state.items()
        for number, names in enumerate(split_shards(tensors, _SHARD_BYTES))
        if names
    }

    def write(path: Path) -> FileEntry:
        tensors, metadata = shards[path]
        save_file(tensors, path, metadata)  # Straight from the tensors' memory, without another copy of them.
        return seal(path)

    with ThreadPoolExecutor(_SHARDS_AT_ONCE, "shard") as pool:
        return list(pool.map(write, shards))


def write_text(path: Path, text: str) -> FileEntry:
    path.write_text(text, encoding="utf-8")
    return seal(path)


def seal(path: Path) -> FileEntry:
    """Syncs a file to the disk and takes its size and SHA-256."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path.name, path.stat().st_size, digest)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(
    folder: Path,
    identity: str,
    recipe: str,
    step: int,
    validation_loss: float | None,
    entries: list[FileEntry],
    *,
    stored_dtype: str | None = None,
    in_pieces: bool = False,
) -> None:
    manifest = {
        "version": _IN_PIECES if in_pieces else _WHOLE,
        "identity": identity,
        "recipe": recipe,
        **({"storedDtype": stored_dtype} if stored_dtype else {}),
        "step": step,
        "validationLoss": validation_loss,
        "files": [entry.to_json() for entry in sorted(entries, key=lambda entry: entry.path)],
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def open_checkpoint(folder: Path, identity: str) -> Checkpoint:
    """Verifies size and SHA-256 of every file. Raises InvalidSpec, with `damaged: true` where bytes are not as they
    were written, so that the caller takes an older checkpoint; one of another version or training is whole."""
    manifest = read_manifest(folder)
    try:
        if manifest is None:
            raise _damaged(folder, "no readable manifest.json", "one, written last")
        if manifest["version"] not in (_WHOLE, _IN_PIECES):
            raise invalid(
                f"checkpoint {folder}",
                f"version {manifest['version']!r}",
                f"version {_WHOLE} or {_IN_PIECES}, all that this trainer knows",
                "upgrade the trainer to the release that wrote it; nothing is wrong with the checkpoint",
            )
        if manifest["identity"] != identity:
            raise invalid(
                f"checkpoint {folder}",
                f"identity {manifest['identity']}",
                f"{identity}, that of this training",
                "resume from a checkpoint of the same model, data and settings, or start from the base",
            )
        with ThreadPoolExecutor(_READ_AT_ONCE, "verify") as pool:
            names = list(pool.map(lambda entry: _verified(folder, entry), manifest["files"]))
        history = (folder / HISTORY).read_text(encoding="utf-8").splitlines()
        recipe, stored_dtype = manifest.get("recipe"), manifest.get("storedDtype")
        return Checkpoint(int(manifest["step"]), folder, names, history, recipe, stored_dtype)
    except (KeyError, TypeError, OSError, UnicodeDecodeError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}", "a checkpoint of this trainer") from error


def _verified(folder: Path, entry: dict[str, Any]) -> str:
    """The name of a file that is as its manifest says."""
    name, path = entry["path"], folder / entry["path"]
    if not _NAME.fullmatch(name):
        raise _damaged(folder, f"the file {name!r} in its manifest", f"safetensors and {HISTORY} only")
    if not path.is_file():
        raise _damaged(folder, f"no {name}", "every file of its manifest")
    with path.open("rb") as file:
        found = FileEntry(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    if found.to_json() != entry:
        raise _damaged(folder, f"{name} of {found.size} bytes with SHA-256 {found.sha256}", str(entry))
    return name


def _damaged(folder: Path, found: str, expected: str) -> TrainerFailure:
    return invalid(f"checkpoint {folder}", found, expected, "resume from an older checkpoint", damaged=True)
