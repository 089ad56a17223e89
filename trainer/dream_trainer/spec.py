"""What `train` is told by its `spec.json`; `contracts/schemas/trainer-train-spec.json` says the same in JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .fields import (
    boolean,
    choice,
    integer,
    list_of,
    nested,
    nullable,
    number,
    optional,
    parse,
    path,
    read_json,
    required,
    text,
)
from .recipes import RECIPES

positive = integer(1)
seconds = number(low=0)


@dataclass(frozen=True)
class ObjectiveSpec:
    weighting: str = optional(choice("none", "original", "linear", "cart"), "cart")
    cart_p: float = optional(number(above=0, below=1), 0.1)
    cutoff: str = optional(choice("none", "random", "random_with_input_pad"), "random_with_input_pad")
    keep_eos: bool = optional(boolean, True)
    normalisation: str = optional(choice("global", "micro-batch-means"), "global")


@dataclass(frozen=True)
class OptimizerSpec:
    learning_rate: float = optional(number(above=0, high=1), 2e-6)
    schedule: str = optional(choice("cosine", "constant"), "cosine")
    warmup_ratio: float = optional(number(low=0, high=1), 0.1)
    beta1: float = optional(number(low=0, below=1), 0.9)
    beta2: float = optional(number(low=0, below=1), 0.95)
    epsilon: float = optional(number(above=0), 1e-8)
    weight_decay: float = optional(number(low=0), 0.01)
    clip_norm: float | None = optional(nullable(number(above=0)), 1.0)


@dataclass(frozen=True)
class LoraSpec:
    rank: int = optional(integer(1), 16)
    alpha: float = optional(number(above=0), 32.0)


@dataclass(frozen=True)
class CheckpointSpec:
    resume_from: Path | None = required(nullable(path))
    every_steps: int | None = required(nullable(positive))
    expected_seconds_between_preemptions: float = required(seconds)
    min_seconds: float = required(seconds)
    max_seconds: float = required(seconds)


@dataclass(frozen=True)
class TrainSpec:
    """What `train` is told; `contracts/trainer.ts` documents each field."""

    version: int = required(integer(1, 1))
    identity: str = required(text)
    model: Path = required(path)
    train_data: Path = required(path)
    validation_data: Path | None = required(nullable(path))
    max_tokens: int = required(positive)
    seed: int = required(integer(0))
    epochs: int = required(positive)
    max_steps: int | None = required(nullable(positive))
    global_batch_size: int = required(positive)
    micro_batch_size: int = required(positive)
    activation_checkpointing: bool = required(boolean)
    activation_budget: float = required(number(low=0, high=1))
    compile: str = required(choice("auto", "on", "off"))
    sharding: str = required(choice("auto", "on", "off"))
    recipe: str = required(choice("auto", *RECIPES))
    lora: LoraSpec = required(nested(LoraSpec))
    objective: ObjectiveSpec = required(nested(ObjectiveSpec))
    optimizer: OptimizerSpec = required(nested(OptimizerSpec))
    leave_out_steps: tuple[int, ...] = required(list_of(positive))
    validate_every_steps: int | None = required(nullable(positive))
    spike_factor: float | None = required(nullable(number(above=1)))
    checkpoint: CheckpointSpec = required(nested(CheckpointSpec))
    threads: int | None = required(nullable(positive))

    @staticmethod
    def load(file: Path) -> TrainSpec:
        return parse(TrainSpec, read_json(file))
