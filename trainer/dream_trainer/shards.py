"""The shards of an evaluation: batches fixed by row number, each a file that is whole or absent."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .answering import Answer, Answerer, choose_numerics
from .data import read_records
from .eval_spec import EvalSpec
from .events import Events
from .failures import invalid
from .preflight import preflight
from .sampler import SamplerSettings
from .tokenizer import Message

_COMPARED = 8
"""Rows that the exact sampler answers as well where the cached one is used: enough to see that something is off."""


@dataclass(frozen=True)
class Question:
    kind: str
    index: int
    id: str
    messages: list[Message]
    reference: str
    prompt_ids: list[int]

    @property
    def noise_id(self) -> str:
        """A row and a qualitative prompt of one id draw different numbers."""
        return f"{'sample' if self.kind == 'exact' else self.kind}:{self.id}"

    def prediction(self, answer: Answer) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "index": self.index,
            "id": self.id,
            "prompt": self.messages,
            "reference": self.reference,
            "prediction": answer.text,
            "newTokens": len(answer.reveal_steps),
            "ended": answer.ended,
            "revealSteps": answer.reveal_steps,
        }


def write_shards(spec: EvalSpec, run_dir: Path, events: Events) -> None:
    """Generates every shard that is not there already. Raises InvalidSpec before any weight is read."""
    began = time.monotonic()
    answerer = Answerer(spec.model)
    shards = questions_in_shards(spec, answerer)
    folder = run_dir / "shards"
    folder.mkdir(exist_ok=True)
    total, done, is_loaded = sum(map(len, shards)), 0, False
    for number, questions in enumerate(shards):
        shard_began = time.monotonic()
        path = folder / f"{number:05}.jsonl"
        predictions = _kept(path, questions)
        if predictions is None:
            if not is_loaded:
                device, _ = choose_numerics(spec.recipe, spec.threads)  # First: cuBLAS reads its settings once.
                preflight(device)
                events.phase("load")
                answerer.load(spec.recipe, spec.threads)
                events.phase("generate")
                is_loaded = True
            answers = answerer.answer(
                [question.prompt_ids for question in questions],
                [question.noise_id for question in questions],
                _sampler_of(spec, questions),
                spec.seed,
            )
            predictions = [question.prediction(answer) for question, answer in zip(questions, answers, strict=True)]
            _write_whole(path, predictions)
        done += len(questions)
        events.emit(
            "shard",
            shard=number,
            path=str(path),
            samplesDone=done,
            samples=total,
            tokens=sum(prediction["newTokens"] for prediction in predictions),
            seconds=time.monotonic() - shard_began,
        )
    events.emit(
        "done",
        step=0,
        weightsSha256=None,
        path=str(folder),
        peakMemoryBytes=_peak_memory_bytes(),
        seconds=time.monotonic() - began,
    )


def questions_in_shards(spec: EvalSpec, answerer: Answerer) -> list[list[Question]]:
    """Rows in order, the qualitative prompts, and where the sampler is the cached one the first rows again, for the
    exact one; a shard holds one kind."""
    records = read_records(spec.data)[: spec.max_samples]
    samples = [
        _question(
            spec,
            answerer,
            "sample",
            index,
            str(record["id"]),
            _prompt(spec, record),
            record["reference"] or "",
        )
        for index, record in enumerate(records)
    ]
    system = _system_prompt(spec, records)
    qualitative = [
        _question(spec, answerer, "qualitative", index, str(index), [*system, {"role": "user", "content": prompt}], "")
        for index, prompt in enumerate(spec.qualitative_prompts)
    ]
    exact = samples[:_COMPARED] if spec.sampler.mode == "cached" else []
    kinds = (samples, qualitative, [replace(question, kind="exact") for question in exact])
    size = spec.shard_size
    return [kind[begin : begin + size] for kind in kinds for begin in range(0, len(kind), size)]


def _sampler_of(spec: EvalSpec, questions: Sequence[Question]) -> SamplerSettings:
    return replace(spec.sampler, mode="exact") if questions[0].kind == "exact" else spec.sampler


def _question(
    spec: EvalSpec, answerer: Answerer, kind: str, index: int, id: str, messages: list[Message], reference: str
) -> Question:
    where = f"data {spec.data}, row {id}" if kind == "sample" else f"spec, qualitativePrompts[{index}]"
    for message in messages:
        token = answerer.tokenizer.special_text(message["content"])
        if token:
            raise invalid(
                where, f"the literal special token {token}", "text without special tokens", "escape it", row=id
            )
    prompt_ids = answerer.encode(messages)
    context, new = answerer.config.max_position_embeddings, spec.sampler.max_new_tokens
    limit = min(context - new, spec.max_prompt_tokens or context)
    if len(prompt_ids) > limit:
        of = "maxPromptTokens" if limit == spec.max_prompt_tokens else f"context {context} less maxNewTokens {new}"
        raise invalid(
            where,
            f"a prompt of {len(prompt_ids)} tokens",
            f"at most {limit} ({of})",
            "leave the row out, or raise maxPromptTokens or lower maxNewTokens",
            row=id,
        )
    return Question(kind, index, id, messages, reference, prompt_ids)


def _prompt(spec: EvalSpec, record: Mapping[str, Any]) -> list[Message]:
    prompt = record["prompt"]
    messages: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or [])
    if spec.prompt_style == "last-user-message":
        messages = [message for message in messages if message["role"] == "user"][-1:]
    if not messages:
        raise invalid(
            f"data {spec.data}, row {record['id']}", "no user message", "a prompt", "leave the row out",
            row=str(record["id"]),
        )  # fmt: skip
    return messages


def _system_prompt(spec: EvalSpec, records: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The data's first system prompt, where the style is as in training."""
    if spec.prompt_style == "last-user-message":
        return []
    prompts = (record["prompt"] for record in records if not isinstance(record["prompt"], str))
    return next(([message] for prompt in prompts for message in prompt if message["role"] == "system"), [])


def _kept(path: Path, questions: Sequence[Question]) -> list[dict[str, Any]] | None:
    """The predictions of a shard that answers just these questions, or None."""
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            predictions = [json.loads(line) for line in lines]
        asked = [(prediction["kind"], prediction["id"], prediction["prompt"]) for prediction in predictions]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return predictions if asked == [(q.kind, q.id, q.messages) for q in questions] else None


def _write_whole(path: Path, predictions: Sequence[Mapping[str, Any]]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(prediction, ensure_ascii=False) + "\n" for prediction in predictions)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _peak_memory_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
