"""Answers one prompt, and can show the answer as it is revealed.

python -m dream_trainer generate --model DIR [--stream] "什么是扩散模型？"
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .answering import Answerer
from .failures import TrainerFailure, invalid
from .fields import parse
from .sampler import SamplerSettings, Step

ALGORITHMS = ("origin", "maskgit_plus", "topk_margin", "entropy")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer generate", description="Answers one prompt.")
    parser.add_argument("prompt", help="the user's message")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--system", help="system prompt (default: the chat template's)")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="tokens generated (default 256)")
    parser.add_argument("--steps", type=int, default=128, help="denoising steps (default 128)")
    parser.add_argument("--temperature", type=float, default=0.2, help="0 takes the most probable token (default 0.2)")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="entropy", help="remasking (default entropy)")
    parser.add_argument(
        "--algorithm-temperature", type=float, default=0.0, help="above 0, places are drawn by confidence (default 0)"
    )
    parser.add_argument("--top-p", type=float, help="keep the most probable tokens up to this mass (default all)")
    parser.add_argument("--top-k", type=int, help="keep the k most probable tokens (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (default 0)")
    parser.add_argument("--recipe", choices=("auto", "fp32", "bf16"), default="auto", help="numerics (default auto)")
    parser.add_argument("--threads", type=int, help="CPU threads (default 1)")
    parser.add_argument("--json", action="store_true", help="answer with one JSON line")
    parser.add_argument("--stream", action="store_true", help="a JSON line after each step, masked tokens as ░")
    arguments = parser.parse_args(argv)
    try:
        _generate(arguments)
    except TrainerFailure as failure:
        print(failure.message, file=sys.stderr)
        return failure.exit_code
    except BrokenPipeError:
        # The reader has seen enough; leave nothing for the interpreter to flush.
        sys.stdout = None
    return 0


def _generate(arguments: argparse.Namespace) -> None:
    settings = parse(
        SamplerSettings,
        {
            "algorithm": arguments.algorithm,
            "maxNewTokens": arguments.max_new_tokens,
            "steps": arguments.steps,
            "temperature": arguments.temperature,
            "topP": arguments.top_p,
            "topK": arguments.top_k,
            "algorithmTemperature": arguments.algorithm_temperature,
        },
    )
    answerer = Answerer(arguments.model)
    messages = [{"role": "system", "content": arguments.system}] if arguments.system is not None else []
    prompt = answerer.encode([*messages, {"role": "user", "content": arguments.prompt}])
    context = answerer.config.max_position_embeddings
    if len(prompt) + settings.max_new_tokens > context:
        raise invalid(
            "prompt",
            f"{len(prompt)} tokens and {settings.max_new_tokens} new ones",
            f"at most {context} together, the model's context",
            "shorten the prompt or lower --max-new-tokens",
        )
    answerer.load(arguments.recipe, arguments.threads)

    def show(step: Step) -> None:
        text = answerer.partial_text(step.sequences_BS[0, len(prompt) :].tolist())
        _print_json({"step": step.step + 1, "of": settings.steps, "text": text})

    [answer] = answerer.answer(
        [prompt], ["prompt"], settings, arguments.seed, on_step=show if arguments.stream else None
    )
    if arguments.stream or arguments.json:
        _print_json({"done": True, "text": answer.text, "newTokens": len(answer.reveal_steps), "ended": answer.ended})
    else:
        print(answer.text)


def _print_json(value: dict[str, object]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
