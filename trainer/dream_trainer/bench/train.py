"""`python -m dream_trainer bench train`: whole steps of training beside the limit, and beside the plain recipe.

python -m dream_trainer bench train --micro-batch 3 --json train.json
python -m dream_trainer bench train --layers 6 --micro-batch 4 --baseline
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy
import torch

from ..ahead import Ahead
from ..batches import TrainingBatches
from ..block_mask import BLOCK
from ..compiled import compile_blocks, warm_up
from ..config import DreamConfig
from ..data import Row
from ..determinism import make_deterministic
from ..gradients import accumulate_gradients, clear_gradients
from ..optimizer import build_optimizer, clip_factor, gradient_norm, gradients
from ..recipes import RECIPES
from ..spec import ObjectiveSpec, OptimizerSpec
from .baseline import PlainTraining
from .limit import limit_seconds
from .measuring import (
    add_arguments,
    config_of,
    device_here,
    peak_gib,
    peak_share,
    random_model,
    seconds_of,
    spread,
    tell,
)

PROMPT_TOKENS = 128


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer bench train", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--recipe", default="full-bf16-sr-8bit", choices=RECIPES, help="numerics")
    parser.add_argument("--sequence", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--global-batch", type=int, default=32)
    parser.add_argument("--micro-batch", type=int, nargs="+", default=[3], help="one or several, measured in turn")
    parser.add_argument("--budget", type=float, nargs="+", default=[1.0], help="activation budget, one a micro-batch")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--baseline", action="store_true", help="measure the plain recipe as well")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    device, config = device_here(), config_of(arguments)
    batches = random_batches(config, arguments.sequence, arguments.global_batch)
    masked_share = batches.batch(1).masked_tokens / (arguments.global_batch * arguments.sequence)
    flops = flops_per_token(config, arguments.sequence, masked_share)
    rows: list[dict[str, Any]] = []

    def add(name: str, times: list[float], tokens: int, **more: Any) -> None:
        rate = tokens / spread(times)["medianSeconds"]
        share = peak_share(rate * flops, device)
        rows.append({"name": name, "tokensPerSecond": rate, "peakShare": share, **spread(times), **more})
        print(rows[-1], flush=True)

    budgets = arguments.budget * (len(arguments.micro_batch) if len(arguments.budget) == 1 else 1)
    for micro_batch, budget in zip(arguments.micro_batch, budgets, strict=True):
        make_deterministic(None)
        training = _Training(config, arguments, device, batches, micro_batch, budget)
        times = seconds_of(training.step, arguments.repeats, device)
        add(
            f"{arguments.recipe}, micro-batch {micro_batch}, budget {budget:g}",
            times,
            arguments.global_batch * arguments.sequence,
            peakGib=peak_gib(device),
            compileSeconds=training.compile_seconds,
            updateSeconds=training.update_seconds,
        )
        del training
        _forget(device)
    micro_batch = arguments.micro_batch[0]
    tokens = micro_batch * arguments.sequence
    add(
        f"limit: products and attention alone, micro-batch {micro_batch}",
        limit_seconds(config, micro_batch, arguments.sequence, masked_share, device, arguments.repeats),
        tokens,
    )
    if arguments.baseline:
        plain = PlainTraining(config, device)
        batch = batches.batch(1).take(range(micro_batch))
        plain.step(batch)
        times = seconds_of(lambda: plain.step(batch), arguments.repeats, device)
        add(f"baseline: plain recipe, micro-batch {micro_batch}", times, tokens, peakGib=peak_gib(device))
    tell(f"bench train, {config.num_hidden_layers} layers, sequence {arguments.sequence}", rows, arguments, device)
    return 0


class _Training:
    def __init__(
        self,
        config: DreamConfig,
        arguments: argparse.Namespace,
        device: torch.device,
        batches: TrainingBatches,
        micro_batch: int,
        budget: float,
    ) -> None:
        recipe = RECIPES[arguments.recipe]
        self._autocast, self._ahead = recipe.autocast, Ahead(batches.batch)
        self._spec = OptimizerSpec()
        self._chunks = [
            list(range(start, min(start + micro_batch, arguments.global_batch)))
            for start in range(0, arguments.global_batch, micro_batch)
        ]
        self._model = random_model(config, getattr(torch, recipe.weights), device).train()
        self._optimizer = build_optimizer(self._model, self._spec, recipe, 0)
        self._step = 0
        started = time.perf_counter()
        if not arguments.no_compile:
            compile_blocks(self._model, budget, whole_rows=arguments.sequence % BLOCK == 0)
            sizes = sorted({len(chunk) for chunk in self._chunks}, reverse=True)
            warm_up(self._model, [(size, arguments.sequence) for size in sizes], autocast=self._autocast)
        self.step()
        self.compile_seconds = time.perf_counter() - started
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        gradients(self._model)
        self.update_seconds = seconds_of(self._update, 1, device)[0]

    def step(self) -> None:
        """As the loop does it, less its events."""
        self._step += 1
        batch = self._ahead.take(self._step, last=2**31)
        clear_gradients(self._model)
        accumulate_gradients(
            self._model, batch, self._chunks, "global", micro_batches=len(self._chunks), autocast=self._autocast
        )
        self._update()

    def _update(self) -> None:
        norm = gradient_norm(gradients(self._model))
        norm.item()
        factor = clip_factor(norm, self._spec.clip_norm)
        self._optimizer.update(self._step, self._spec.learning_rate, factor)


def random_batches(config: DreamConfig, sequence: int, global_batch: int) -> TrainingBatches:
    """Rows of random tokens, all of one length; noise and weights are those of training."""
    generator = numpy.random.default_rng(0)
    prompt = min(PROMPT_TOKENS, sequence // 4)
    rows = [
        Row(str(number), ids[:prompt], ids[prompt:])
        for number, ids in enumerate(generator.integers(0, config.mask_token_id, (global_batch, sequence)))
    ]
    return TrainingBatches(
        rows, config, ObjectiveSpec(cutoff="none"), seed=0, global_batch_size=global_batch, max_tokens=sequence
    )


def flops_per_token(config: DreamConfig, sequence: int, masked_share: float) -> float:
    """Of forward and backward: six a weight of a product, the head for masked tokens alone, and attention's two."""
    width = config.num_attention_heads * config.head_dim
    kv_width = config.num_key_value_heads * config.head_dim
    layer = config.hidden_size * (2 * width + 2 * kv_width + 3 * config.intermediate_size)
    head = config.hidden_size * config.vocab_size * masked_share
    attention = 12 * config.num_hidden_layers * sequence * width
    return 6 * (config.num_hidden_layers * layer + head) + attention


def _forget(device: torch.device) -> None:
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
