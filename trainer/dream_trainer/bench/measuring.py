"""What all benches share: a model of random weights, times as medians with their spread, and the report."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..config import DreamConfig
from ..model import DreamModel

DREAM_7B = DreamConfig(
    vocab_size=152064,
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    head_dim=128,
    max_position_embeddings=131072,
    rms_norm_eps=1e-6,
    rope_theta=1e6,
    tie_word_embeddings=False,
    initializer_range=0.02,
    mask_token_id=151666,
    pad_token_id=151643,
    eos_token_id=151643,
    torch_dtype="bfloat16",
)

PEAK_FLOPS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}
"""Dense bf16 by the data sheet; the share of the peak is told only where it is known."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="folder whose config.json gives the shapes (default: Dream 7B's)")
    parser.add_argument("--layers", type=int, help="as many layers instead of the model's own")
    parser.add_argument("--repeats", type=int, default=3, help="measurements, whose median is told (default 3)")
    parser.add_argument("--json", type=Path, help="file for the results")


def config_of(arguments: argparse.Namespace) -> DreamConfig:
    config = DreamConfig.load(arguments.model) if arguments.model else DREAM_7B
    return dataclasses.replace(config, num_hidden_layers=arguments.layers) if arguments.layers else config


def device_here() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def random_model(config: DreamConfig, dtype: torch.dtype, device: torch.device) -> DreamModel:
    """Made on the device itself: N(0, initializer_range²), norms 1."""
    with torch.device("meta"):
        model = DreamModel(config).to(dtype)
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.fill_(1)
        else:
            parameter.normal_(0, config.initializer_range, generator=generator)
    return model


def seconds_of(work: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Wall-clock seconds of each repeat, the device's work included."""
    times = []
    for _ in range(repeats):
        _settle(device)
        started = time.perf_counter()
        work()
        _settle(device)
        times.append(time.perf_counter() - started)
    return times


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(times: list[float]) -> dict[str, float]:
    return {"medianSeconds": statistics.median(times), "minSeconds": min(times), "maxSeconds": max(times)}


def peak_share(flops_per_second: float, device: torch.device) -> float | None:
    peak = PEAK_FLOPS.get(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return flops_per_second / peak if peak else None


def peak_gib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def tell(what: str, rows: list[dict[str, Any]], arguments: argparse.Namespace, device: torch.device) -> None:
    """Prints a table of the rows and writes them, with device and versions, to `--json`."""
    told = {
        "what": what,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "rows": rows,
    }
    print(f"{what} on {told['device']}, torch {torch.__version__}")
    for row in rows:
        print("  " + "  ".join(f"{name} {_short(value)}" for name, value in row.items() if value is not None))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _short(value: object) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float) and abs(value) < 10_000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )
