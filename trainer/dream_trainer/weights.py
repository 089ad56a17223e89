"""Reads and writes the weights of Hugging Face folders (safetensors only), and takes the weights' hash."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .config import DreamConfig
from .failures import TrainerFailure, invalid
from .model import DreamModel
from .pieces import Piece, stored_tensors
from .sharding import as_shard, piece_of

SHARD_BYTES = 4_000_000_000
STORED_DTYPES: Mapping[str | None, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FILES_AT_ONCE = 16

_COPIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
"""What an exported model takes over from its base: never Python code, never a pickle."""


def load_model(folder: Path, dtype: torch.dtype, device: torch.device | str) -> DreamModel:
    """The model of a Hugging Face folder, its weights cast to `dtype`. Raises InvalidSpec for a broken folder."""
    config = DreamConfig.load(folder)
    with torch.device("meta"):
        model = DreamModel(config)
    load_weights(model, weight_files(folder), dtype, device)
    return model


def weight_files(folder: Path) -> list[Path]:
    """`model.safetensors`, or every shard that `model.safetensors.index.json` names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _shards_of(index)
        missing = [name for name in shards if not (folder / name).is_file()]
        if missing:
            raise invalid(
                f"model folder {folder}",
                f"no {', '.join(missing)}",
                f"all {len(shards)} shards that {index.name} names",
                "download the model again",
            )
        return [folder / name for name in shards]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    raise invalid(
        f"model folder {folder}",
        "no weights",
        "model.safetensors, or model.safetensors.index.json with its shards",
        "download the model again; pickled weights (*.bin, *.pt) are never read, as they can run code: convert them "
        'where you trust them, `safetensors.torch.save_file(torch.load(FILE, weights_only=True), "model.safetensors")`',
    )


def _shards_of(index: Path) -> list[str]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if shards:
            return shards
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise invalid(str(index), "no shards", "JSON with a weight_map from tensor to file", "download it again")


def load_weights(
    model: DreamModel,
    files: Iterable[Path],
    dtype: torch.dtype,
    device: torch.device | str,
    is_loaded: Callable[[str], bool] = lambda name: True,
) -> None:
    """Fills a model (also one on the meta device) with tensors by Hugging Face name: all of them, or those that
    `is_loaded` says. Of a shard only its own rows are read."""
    expected = {name: parameter for name, parameter in model.named_parameters() if is_loaded(name)}
    state: dict[str, Tensor] = {}
    to_come: dict[str, int] = {}
    lock = threading.Lock()

    def read(path: Path) -> None:
        stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None
        for name, stored, rows in stored_tensors(path):
            if name not in expected:
                if name.endswith("rotary_emb.inv_freq") or (
                    name == "lm_head.weight" and model.config.tie_word_embeddings
                ):
                    continue
                raise invalid(f"{path}, tensor {name}", "a tensor", "none of that name", "use a Dream model")
            parameter = expected[name]
            if stored.shape != tuple(parameter.shape):
                raise invalid(
                    f"{path}, tensor {name}",
                    f"shape {list(stored.shape)}",
                    f"{list(parameter.shape)} by config.json",
                    "use weights and config.json of one model",
                )
            mine = piece_of(parameter) or Piece(0, parameter.shape[0], stored.shape)
            start, stop = max(stored.start, mine.start), min(stored.stop, mine.stop)
            if start >= stop:
                continue
            with lock:
                if name not in state:
                    state[name] = torch.empty(mine.stop - mine.start, *stored.shape[1:], dtype=dtype, device=device)
                    to_come[name] = mine.stop - mine.start
                to_come[name] -= stop - start
            # Each thread's copies by themselves, so that none waits for another's.
            with torch.cuda.stream(stream):
                part = state[name][start - mine.start : stop - mine.start].copy_(rows(start, stop))
            if part.isnan().any():
                raise invalid(f"{path}, tensor {name}", "NaN", "numbers", "download the model again")

    def readable(path: Path) -> None:
        try:
            read(path)
        except SafetensorError as error:
            raise _damaged(path, error) from error

    with ThreadPoolExecutor(_FILES_AT_ONCE, "weights") as pool:
        deque(pool.map(readable, files), maxlen=0)
    missing = sorted(name for name in expected if to_come.get(name, 1) > 0)
    if missing:
        raise invalid(
            "model weights",
            f"no tensor {missing[0]}" + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""),
            f"{len(expected)} tensors by config.json",
            "download the model again",
        )
    state = {name: as_shard(tensor, expected[name]) for name, tensor in state.items()}
    if model.config.tie_word_embeddings and "model.embed_tokens.weight" in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, assign=True, strict=False)  # Names were compared above.
    model.tie_weights()


def stored_dtype(folder: Path) -> torch.dtype:
    """bfloat16 where the weights are stored so, else float32: what an export of a model tuned from them is cast to."""
    file = weight_files(folder)[0]
    try:
        with safe_open(file, framework="pt") as tensors:
            name = next(iter(tensors.keys()))
            return torch.bfloat16 if tensors.get_slice(name).get_dtype() == "BF16" else torch.float32
    except SafetensorError as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: SafetensorError) -> TrainerFailure:
    return invalid(str(file), f"a damaged file ({error})", "safetensors", "download the model again")


def save_model(tensors: Mapping[str, Tensor], base: Path, folder: Path, shard_bytes: int = SHARD_BYTES) -> str:
    """Writes a Hugging Face folder with the base's config and tokenizer; returns the weights' hash.

    The same tensors give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    exported = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    shards = split_shards(exported, shard_bytes)
    if len(shards) == 1:
        save_file(exported, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        weight_map: dict[str, str] = {}
        for number, names in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            save_file({name: exported[name] for name in names}, folder / file, metadata={"format": "pt"})
            weight_map.update(dict.fromkeys(names, file))
        total = sum(tensor.nbytes for tensor in exported.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for name in _COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return weights_sha256(exported)


def split_shards(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
    """Names of tensors in their order, in runs of at most `shard_bytes` (a larger tensor stands alone)."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    return shards


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over tensors in order of name. Each adds a line of JSON, [name, dtype, shape], then its bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(json.dumps([name, dtype, list(tensor.shape)], separators=(",", ":")).encode() + b"\n")
        # An array has the buffer protocol, which numpy declares from Python 3.12 on.
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()
