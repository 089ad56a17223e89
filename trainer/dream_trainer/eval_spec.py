"""What `eval` is told by its `spec.json`; `contracts/schemas/trainer-eval-spec.json` says the same in JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .fields import choice, integer, list_of, nested, nullable, parse, path, read_json, required, text
from .sampler import SamplerSettings

positive = integer(1)


@dataclass(frozen=True)
class EvalSpec:
    """`contracts/trainer.ts` documents each field."""

    version: int = required(integer(1, 1))
    model: Path = required(path)
    data: Path = required(path)
    max_samples: int | None = required(nullable(positive))
    prompt_style: str = required(choice("as-trained", "last-user-message"))
    qualitative_prompts: tuple[str, ...] = required(list_of(text))
    max_prompt_tokens: int | None = required(nullable(positive))
    shard_size: int = required(positive)
    sampler: SamplerSettings = required(nested(SamplerSettings))
    seed: int = required(integer(0))
    recipe: str = required(choice("auto", "fp32", "bf16"))
    threads: int | None = required(nullable(positive))

    @staticmethod
    def load(file: Path) -> EvalSpec:
        return parse(EvalSpec, read_json(file))
