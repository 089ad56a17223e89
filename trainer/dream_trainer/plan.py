"""`python -m dream_trainer plan < REQUEST`: whether training fits, by JSON on standard input; answers with JSON.

The request: `config` (fields of config.json, null for Dream 7B's), `recipe`, `loraRank`, `microBatchSize`,
`globalBatchSize`, `maxTokens`, `activationCheckpointing`, `activationBudget`, `compile`, `sharding`, and `hosts`, a
list of {gpus, memoryGib, gpu}. The answer tells for each host which recipe was looked at, its bytes by kind, whether
they fit, the nearest change that would make them fit, and how long a fresh host takes to the first step of that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from .config import DreamConfig
from .failures import TrainerFailure
from .first_step import first_step
from .memory import (
    COMPILED_FROM_PARAMETERS,
    DREAM_7B,
    GIB,
    Request,
    Shape,
    bytes_by_kind,
    choose,
    fits,
    nearest_fit,
    needed_gib,
    smallest,
    tokens_per_second,
)
from .recipes import BY_PREFERENCE


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dream_trainer plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    try:
        print(json.dumps(answer(json.load(sys.stdin))))
    except TrainerFailure as failure:
        print(f"dream_trainer: {failure.message}", file=sys.stderr)
        return failure.exit_code
    return 0


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    shape = DREAM_7B if asked["config"] is None else shape_of(asked["config"])
    compile = asked["compile"]
    request = Request(
        asked["recipe"],
        asked["microBatchSize"],
        asked["maxTokens"],
        asked["activationCheckpointing"],
        asked["activationBudget"],
        compile == "on" or (compile == "auto" and shape.parameters >= COMPILED_FROM_PARAMETERS),
        asked["loraRank"],
    )
    return {
        "parameters": shape.parameters,
        "hosts": [
            _on_host(shape, request, asked["globalBatchSize"], asked["sharding"], host) for host in asked["hosts"]
        ],
    }


def _shared(request: Request, global_batch_size: int, gpus: int) -> Request:
    """A rank has no more rows of a step than its share of the global batch."""
    share = -(-global_batch_size // gpus)
    return dataclasses.replace(request, micro_batch_size=min(request.micro_batch_size, share), gpus=gpus)


def shape_of(fields: dict[str, Any]) -> Shape:
    """Special tokens decide no size, and a plan may come before they are known."""
    tokens = dict.fromkeys(("mask_token_id", "pad_token_id", "eos_token_id"), 0)
    return Shape.of(DreamConfig.parse({"max_position_embeddings": 1, "model_type": "Dream", **fields, **tokens}))


def _on_host(
    shape: Shape, asked: Request, global_batch_size: int, sharding: str, host: dict[str, Any]
) -> dict[str, Any]:
    request = _shared(asked, global_batch_size, host["gpus"])
    memory_bytes = host["memoryGib"] and host["memoryGib"] * GIB
    if memory_bytes:
        looked_at = choose(shape, request, sharding, memory_bytes) or smallest(request, sharding)
    else:  # Without a GPU to ask about, the first choice.
        first = BY_PREFERENCE[0] if request.recipe == "auto" else request.recipe
        looked_at = dataclasses.replace(request, recipe=first, is_sharded=sharding == "on" and request.gpus > 1)
    fit = fits(shape, looked_at, memory_bytes) if memory_bytes else None
    near = nearest_fit(shape, looked_at, memory_bytes) if memory_bytes else None
    speed = tokens_per_second(shape, near, host.get("gpu") or "") if near else None
    return {
        **host,
        "request": _told(looked_at),
        "bytes": bytes_by_kind(shape, looked_at),
        "fits": fit,
        "neededGib": needed_gib(shape, looked_at),
        "nearest": near and _told(near),
        "tokensPerSecond": speed and speed * host["gpus"],
        "firstStep": near and first_step(shape, near, global_batch_size, speed and speed * host["gpus"]),
    }


def _told(request: Request) -> dict[str, Any]:
    return {
        "recipe": request.recipe,
        "microBatchSize": request.micro_batch_size,
        "maxTokens": request.max_tokens,
        "activationCheckpointing": request.activation_checkpointing,
        "activationBudget": request.activation_budget,
        "isCompiled": request.is_compiled,
        "isSharded": request.is_sharded,
    }
