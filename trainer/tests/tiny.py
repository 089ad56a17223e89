"""A tiny random model with a byte tokenizer, a few rows, and the means to train it in real processes."""

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

import pyarrow
import pyarrow.parquet
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from dream_trainer.checkpoint import step_of
from dream_trainer.config import DreamConfig
from dream_trainer.model import DreamModel, initialise
from dream_trainer.train import attempt

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|mask|>"]


def make_model(folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {
        "model_type": "Dream",
        "vocab_size": 264,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "eos_token_id": 256,
        "pad_token_id": 256,
        "mask_token_id": 259,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(fields))
    model = DreamModel(DreamConfig.parse(fields))
    initialise(model, torch.Generator().manual_seed(0))
    weights = {name: parameter.detach().to(dtype) for name, parameter in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "modeling_dream.py").write_text("raise SystemExit('code of a model repository was run')")
    return folder


def make_data(file: Path, rows: int, letters: int = 0) -> Path:
    records = [
        {
            "id": f"row-{number}",
            "prompt": [{"role": "system", "content": ""}, {"role": "user", "content": "x" * (number % 4 + 1)}],
            "response": "ab" * (letters + number % 5 + 1),
            "reference": "ab",
        }
        for number in range(rows)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), file)
    return file


def make_spec(folder: Path, **changes: Any) -> dict[str, Any]:
    """10 rows in batches of 4: 3 steps an epoch, the last one of 2 rows; 4 epochs."""
    spec: dict[str, Any] = {
        "version": 1,
        "identity": "tiny",
        "model": str(folder / "base"),
        "trainData": str(folder / "train.parquet"),
        "validationData": str(folder / "validation.parquet"),
        "maxTokens": 96,
        "seed": 7,
        "epochs": 4,
        "maxSteps": None,
        "globalBatchSize": 4,
        "microBatchSize": 4,
        "activationCheckpointing": False,
        "activationBudget": 1,
        "compile": "auto",
        "sharding": "auto",
        "recipe": "auto",
        "lora": {"rank": 4, "alpha": 8},
        "objective": {},
        "optimizer": {"learningRate": 1e-3},
        "leaveOutSteps": [],
        "validateEverySteps": None,
        "spikeFactor": None,
        "checkpoint": {
            "resumeFrom": None,
            "everySteps": 2,
            "expectedSecondsBetweenPreemptions": 3600,
            "minSeconds": 60,
            "maxSeconds": 1800,
        },
        "threads": None,
    }
    return spec | changes


def make_inputs(folder: Path, **changes: Any) -> Path:
    make_model(folder / "base", **changes)
    make_data(folder / "train.parquet", 10)
    make_data(folder / "validation.parquet", 3)
    return folder


def start(spec: dict[str, Any], run_dir: Path, ranks: int = 1, kernels: Path | None = None) -> subprocess.Popen[str]:
    """Starts a real trainer."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "dream_trainer", "train", "--spec", str(run_dir / "spec.json")]
    command += ["--run-dir", str(run_dir)] + (["--ranks", str(ranks)] if ranks > 1 else [])
    command += ["--kernels", str(kernels)] if kernels else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def train(
    spec: dict[str, Any], run_dir: Path, ranks: int = 1, expect: int = 0, kernels: Path | None = None
) -> list[dict[str, Any]]:
    """Runs a trainer to its end and gives its events."""
    process = start(spec, run_dir, ranks, kernels)
    _, told = process.communicate(timeout=240)
    assert process.returncode == expect, told
    return events_of(run_dir)


def train_here(
    spec: dict[str, Any], run_dir: Path, expect: int = 0, replay_until: int | None = None
) -> list[dict[str, Any]]:
    """The same in this process, which saves the time to import torch, and its traces are removed."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "spec.json").write_text(json.dumps(spec))
    environment, handler, threads = dict(os.environ), signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    try:
        status = attempt(run_dir / "spec.json", run_dir, replay_until=replay_until)
    finally:
        signal.signal(signal.SIGTERM, handler)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
    events = events_of(run_dir)
    assert status == expect, events[-1]
    return events


def events_of(run_dir: Path) -> list[dict[str, Any]]:
    file = run_dir / "events.jsonl"
    # A line without its end is still being written.
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def of_type(events: list[dict[str, Any]], type: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == type]


def resume(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    return spec | {"checkpoint": spec["checkpoint"] | {"resumeFrom": str(folder)}}


def saved_steps(run_dir: Path) -> dict[int, Path]:
    return {step: path for path in (run_dir / "checkpoints").glob("*") if (step := step_of(path)) is not None}


def newest(run_dir: Path) -> Path:
    return max(saved_steps(run_dir).items())[1]


def wait_for(run_dir: Path, process: subprocess.Popen[str], condition: Callable[[list[dict[str, Any]]], bool]) -> None:
    deadline = time.monotonic() + 150
    while not condition(events_of(run_dir)):
        assert process.poll() is None and time.monotonic() < deadline, events_of(run_dir)
        time.sleep(0.005)


def killed(
    spec: dict[str, Any],
    run_dir: Path,
    ranks: int,
    condition: Callable[[list[dict[str, Any]]], bool],
    after_seconds: float,
    kernels: Path | None = None,
) -> list[dict[str, Any]]:
    """The events of an attempt that was killed some time after it met a condition."""
    process = start(spec, run_dir, ranks, kernels)
    wait_for(run_dir, process, condition)
    time.sleep(after_seconds)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    events = events_of(run_dir)
    time.sleep(0.3)  # The ranks die with their launcher.
    return events


def seen(times: int, **fields: Any) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda events: sum(event.items() >= fields.items() for event in events) >= times
