"""`python -m dream_trainer bench sample`: seconds a sample, exact and cached, beside the plain loop.

    python -m dream_trainer bench sample --new-tokens 512 --prompt 128 --batch 64 --json sample.json

The plain loop takes one prompt at a time and computes the logits of every place. Random weights are sure of nothing,
so that no figure is told for confidence thresholds, whose speed depends on what the model knows.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from ..cached_sampler import sample_cached
from ..compiled import compile_blocks
from ..determinism import make_deterministic
from ..model import DreamModel, shift
from ..sampler import SamplerSettings, confidence, keyed_noise, processed_probabilities, sample
from .measuring import add_arguments, config_of, device_here, peak_gib, random_model, seconds_of, spread, tell


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer bench sample", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt")
    parser.add_argument("--new-tokens", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64, help="prompts generated together")
    parser.add_argument("--tokens-per-step", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--refresh", type=int, nargs="+", default=[4, 16], help="blocks between, one a tokens-per-step")
    parser.add_argument("--compile", action="store_true", help="the exact sampler; the cached one compiles by itself")
    parser.add_argument(
        "--measured-steps", type=int, help="of the exact samplers: time so many, tell all by their share"
    )
    arguments = parser.parse_args(argv)
    make_deterministic(None)
    device, config = device_here(), config_of(arguments)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = random_model(config, dtype, device).eval()
    generator = torch.Generator().manual_seed(0)
    prompts_BS = torch.randint(0, config.mask_token_id, (arguments.batch, arguments.prompt), generator=generator)
    noise = keyed_noise(0, [str(row) for row in range(arguments.batch)])
    rows: list[dict[str, Any]] = []

    def add(name: str, work: Callable[[], object], samples: int, share: float = 1.0, **more: Any) -> float:
        work()
        times = [seconds / share / samples for seconds in seconds_of(work, arguments.repeats, device)]
        rows.append({"name": name, **spread(times), "peakGib": peak_gib(device), **more})
        print(rows[-1], flush=True)
        return rows[-1]["medianSeconds"]

    plain = {}
    for tokens_per_step in arguments.tokens_per_step:
        steps = arguments.new_tokens // tokens_per_step
        measured = min(steps, arguments.measured_steps or steps)
        settings = SamplerSettings(max_new_tokens=arguments.new_tokens, steps=steps)
        plain[steps] = add(
            f"plain loop, {tokens_per_step} tokens a step, one prompt at a time",
            lambda m=measured, s=settings: plain_loop(model, prompts_BS[:1], s, m),
            1,
            measured / steps,
        )
    if arguments.compile:
        compile_blocks(model, 1.0)
    refreshes = arguments.refresh * (len(arguments.tokens_per_step) if len(arguments.refresh) == 1 else 1)
    for tokens_per_step, refresh in zip(arguments.tokens_per_step, refreshes, strict=True):
        steps = arguments.new_tokens // tokens_per_step
        measured = min(steps, arguments.measured_steps or steps)
        settings = SamplerSettings(max_new_tokens=arguments.new_tokens, steps=steps)
        # Every step of the exact sampler costs alike but for its count of masks, half of all on average.
        half = torch.nn.functional.pad(prompts_BS, (0, arguments.new_tokens // 2 if measured < steps else 0), value=0)
        rest = dataclasses.replace(
            settings, max_new_tokens=settings.max_new_tokens - (half.shape[1] - arguments.prompt)
        )
        seconds = add(
            f"exact, {tokens_per_step} tokens a step, batch {arguments.batch}",
            lambda s=rest, m=measured, p=half: _some_steps(model, p, s, noise, m),
            arguments.batch,
            measured / steps,
        )
        rows[-1]["timesPlain"] = plain[steps] / seconds
        cached = dataclasses.replace(settings, mode="cached", refresh_every_blocks=refresh)
        seconds = add(
            f"cached, {tokens_per_step} tokens a step, refresh every {refresh} blocks, batch {arguments.batch}",
            lambda s=cached: sample_cached(model, prompts_BS, None, s, noise),
            arguments.batch,
        )
        rows[-1]["timesPlain"] = plain[steps] / seconds
    what = f"bench sample, {config.num_hidden_layers} layers, prompts {arguments.prompt}, new {arguments.new_tokens}"
    tell(f"{what}: seconds a sample", rows, arguments, device)
    return 0


class _Enough(Exception):
    pass


def _some_steps(model: DreamModel, prompts: torch.Tensor, settings: SamplerSettings, noise: Any, steps: int) -> None:
    def stop(step: Any) -> None:
        if step.step + 1 >= steps:
            raise _Enough

    with contextlib.suppress(_Enough):
        sample(model, prompts, None, settings, noise, stop)


@torch.inference_mode()
def plain_loop(model: DreamModel, prompts_BS: torch.Tensor, settings: SamplerSettings, steps: int) -> torch.Tensor:
    """The public sampler's way with entropy: every step a forward pass with all logits, in the caller's batch."""
    mask, device = model.config.mask_token_id, next(model.parameters()).device
    x_BS = torch.nn.functional.pad(prompts_BS, (0, settings.max_new_tokens), value=mask).to(device)
    times = torch.linspace(1, 1e-3, settings.steps + 1)
    for step in range(steps):
        logits_BSV = shift(model(x_BS))
        masked_BS = x_BS == mask
        probabilities_NV = processed_probabilities(logits_BSV[masked_BS], settings.temperature, None, None)
        tokens_N = torch.multinomial(probabilities_NV, 1)[:, 0]
        sure_N = confidence(probabilities_NV, "entropy")
        count = int(len(sure_N) * (1 - times[step + 1] / times[step])) if step + 1 < settings.steps else len(sure_N)
        chosen = sure_N.topk(count).indices
        found_N = torch.full_like(tokens_N, mask)
        found_N[chosen] = tokens_N[chosen]
        x_BS[masked_BS] = found_N
    return x_BS
