"""`python -m dream_trainer doctor [--json]`: versions, devices, and whether each device still calculates."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from typing import Any

import torch

_SIZE = 64


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args(argv)
    report = examine()
    if arguments.json:
        print(json.dumps(report))
    else:
        for name, told in report.items():
            print(f"{name}: {json.dumps(told)}")
    return 0 if report["ok"] else 1


def examine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    gpus = [_gpu(index) for index in range(torch.cuda.device_count())] if cuda else []
    cpu = check_product("cpu")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": _version_of("transformers"),
        "cudaAvailable": cuda,
        "cudaVersion": torch.version.cuda,
        "gpus": gpus,
        "cpu": {"product": cpu},
        "ok": cpu == "right" and all(gpu["product"] == "right" for gpu in gpus),
    }


def check_product(device: str, dtype: torch.dtype = torch.float32, copies: int = 1) -> str:
    """Multiplies matrices of small integers, exact in `dtype`, whose product is known: Σ (i + k)·(k − j).

    Many copies at once reach every part of a GPU that calculates."""
    try:
        index = torch.arange(_SIZE, dtype=dtype, device=device)
        left, right = index[:, None] + index[None], index[:, None] - index[None]
        products = torch.bmm(left.repeat(copies, 1, 1), right.repeat(copies, 1, 1)).cpu()
        i, j = torch.meshgrid(torch.arange(_SIZE), torch.arange(_SIZE), indexing="ij")
        s1, s2 = _SIZE * (_SIZE - 1) // 2, (_SIZE - 1) * _SIZE * (2 * _SIZE - 1) // 6
        return "right" if (products == (s2 + s1 * (i - j) - _SIZE * i * j).to(dtype)).all() else "wrong"
    except RuntimeError as error:
        return f"failed: {str(error).splitlines()[0]}"


def _gpu(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    return {"name": properties.name, "memoryBytes": properties.total_memory, "product": check_product(f"cuda:{index}")}


def _version_of(module: str) -> str | None:
    try:
        return importlib.import_module(module).__version__
    except ImportError:
        return None
