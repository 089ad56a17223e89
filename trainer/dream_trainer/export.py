"""`python -m dream_trainer export --model FOLDER --to FOLDER [--report report.json]`: a model to hand on.

A Hugging Face folder in bf16: shards and their index, tokenizer, config, generation config, and a model card with what
the run's report tells of data, recipe and metrics. The same inputs give the same bytes. No code is written: config.json
points `transformers` at the repository that has it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from .config import DreamConfig
from .failures import TrainerFailure, invalid
from .lora import exported_tensors
from .tokenizer import Tokenizer
from .weights import load_model, save_model

CODE = "Dream-org/Dream-v0-Base-7B"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dream_trainer export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a train stage's artifact, or any Dream folder")
    parser.add_argument("--to", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--report", type=Path, help="report.json of the run")
    parser.add_argument("--licence", default="apache-2.0", help="of the model and its base (default apache-2.0)")
    parser.add_argument("--code", default=CODE, help=f"Hub repository with the model's code (default {CODE})")
    arguments = parser.parse_args(argv)
    try:
        digest = export(arguments.model, arguments.to, arguments.report, arguments.licence, arguments.code)
    except TrainerFailure as failure:
        print(f"dream_trainer: {failure.message}", file=sys.stderr)
        return failure.exit_code
    print(json.dumps({"path": str(arguments.to), "weightsSha256": digest}))
    return 0


def export(model: Path, to: Path, report_file: Path | None, licence: str, code: str) -> str:
    """Returns the weights' hash. Raises InvalidSpec; `to` then does not exist."""
    if to.exists():
        raise invalid(f"--to {to}", "a folder that exists", "one that does not", "name another")
    report = _report(report_file) if report_file else None
    config = DreamConfig.load(model)
    Tokenizer.load(model, config)  # Refuses one that is of another model.
    partial = to.with_name(to.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    tensors = dict(exported_tensors(load_model(model, torch.bfloat16, "cpu"), torch.bfloat16))
    digest = save_model(tensors, model, partial)
    fields = json.loads((model / "config.json").read_text(encoding="utf-8"))
    fields["torch_dtype"] = "bfloat16"
    fields["auto_map"] = {
        "AutoConfig": f"{code}--configuration_dream.DreamConfig",
        "AutoModel": f"{code}--modeling_dream.DreamModel",
    }
    _write_json(partial / "config.json", fields)
    if not (partial / "generation_config.json").is_file():
        ids = ("bos_token_id", "eos_token_id", "mask_token_id", "pad_token_id")
        _write_json(partial / "generation_config.json", {id: fields[id] for id in ids if id in fields})
    (partial / "README.md").write_text(card(report, licence, digest), encoding="utf-8")
    partial.rename(to)
    return digest


def _write_json(file: Path, fields: dict[str, Any]) -> None:
    file.write_text(json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _report(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        return {key: report[key] for key in ("spec", "sources", "summaries")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise invalid(
            f"--report {file}", f"{type(error).__name__}: {error}", "a run's report.json", "name it"
        ) from error


def card(report: dict[str, Any] | None, licence: str, digest: str) -> str:
    """The model card: what is known, and nothing about what is not."""
    head: dict[str, Any] = {"license": licence, "library_name": "transformers", "pipeline_tag": "text-generation"}
    lines = ["# A Dream diffusion language model, fine-tuned with Reverie", ""]
    if report:
        spec, sources, summaries = (report[key] for key in ("spec", "sources", "summaries"))
        train, objective, rate = spec["train"], spec["train"]["objective"], spec["train"]["optimizer"]["learningRate"]
        hub = {kind: _hub_name(sources[kind]["source"]) for kind in ("model", "dataset")}
        head |= {key: [name] for key, name in (("base_model", hub["model"]), ("datasets", hub["dataset"])) if name}
        lines += [
            "| | |",
            "|---|---|",
            f"| base model | {_source(sources['model'])} |",
            f"| data | {_source(sources['dataset'])}, {summaries['filter']['train']['kept']} training rows |",
            f"| steps | {summaries['train']['steps']} of {train['globalBatchSize']} rows, {train['epochs']} epochs |",
            f"| objective | {objective['weighting']}, cutoff {objective['cutoff']} |",
            f"| numerics | {summaries['train']['recipe']}, learning rate {rate}, seed {train['seed']} |",
            f"| longest row | {spec['filter']['maxTokens']} tokens |",
            f"| validation loss | {summaries['train'].get('validationLoss')} |",
            f"| held-out questions right, before | {_score(summaries['evalBase'])} |",
            f"| held-out questions right, after | {_score(summaries['evalTuned'])} |",
        ]
    lines += ["", f"SHA-256 of the weights, over tensors in order of name: `{digest}`.", ""]
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())
    return f"---\n{front}---\n\n" + "\n".join(lines)


def _hub_name(uri: str) -> str | None:
    return uri.removeprefix("hf://").partition("@")[0] if uri.startswith("hf://") else None


def _source(source: dict[str, Any]) -> str:
    return f"{source['source']} at {source['revision']}"


def _score(summary: dict[str, Any]) -> str:
    graded = summary["correct"] + summary["incorrect"]
    return f"{summary['correct']} of {graded} graded"
