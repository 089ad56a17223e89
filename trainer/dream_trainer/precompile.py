"""`python -m dream_trainer precompile --spec FILE --kernels FILE`: what `train` by this spec will compile, ahead of it.

Needs of the model its config and tokenizer alone, so that a host can compile while the weights are on their way: all
blocks are alike, and two of zeros stand for them. Exit status as `train`; where nothing would be compiled, or by
several ranks in shards, nothing is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from .failures import TrainerFailure
from .process import die_with_parent
from .spec import TrainSpec
from .train import prepare_environment


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer precompile", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument(
        "--kernels", type=Path, required=True, help="read where it exists; else, or if lacking, written"
    )
    parser.add_argument("--ranks", type=int, default=1, help="of the training")
    arguments = parser.parse_args(argv)
    die_with_parent()
    try:
        spec = TrainSpec.load(arguments.spec)
        prepare_environment(spec)
        precompile(spec, arguments.kernels, arguments.ranks)
    except TrainerFailure as failure:
        print(f"dream_trainer: {failure.message}", file=sys.stderr)
        return failure.exit_code
    return 0


def precompile(spec: TrainSpec, kernels: Path, ranks: int) -> None:
    import torch

    from .batches import TrainingBatches
    from .compiled import compile_for, is_asked_for
    from .config import DreamConfig
    from .data import load_rows
    from .determinism import make_deterministic
    from .distributed import own_device
    from .fit import fit, gpu_memory_bytes
    from .gradients import accumulate_gradients, clear_gradients
    from .kernels import keep_kernels, load_kernels
    from .lora import start_adapters
    from .micro_batches import micro_batches
    from .optimizer import build_optimizer, clip_factor, gradient_norm, gradients
    from .tokenizer import Tokenizer
    from .trained_model import outline

    make_deterministic(spec.threads)
    device, config = own_device(), DreamConfig.load(spec.model)
    chosen = fit(spec, config, None, gpu_memory_bytes(device), ranks)
    if chosen.is_sharded or not is_asked_for(spec, outline(config, chosen.recipe, spec), device):
        return
    rows = load_rows(spec.train_data, Tokenizer.load(spec.model, config), spec.max_tokens, "error")
    batches = TrainingBatches.of(spec, rows, config)
    model = outline(dataclasses.replace(config, num_hidden_layers=2), chosen.recipe, spec).to_empty(device=device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    if chosen.recipe.lora:
        start_adapters(model, spec.seed, device)
    optimizer = build_optimizer(model.train(), spec.optimizer, chosen.recipe, spec.seed)
    were_loaded = load_kernels(kernels)
    compile_for(model, spec, rows=len(rows), ranks=ranks, autocast=chosen.recipe.autocast)
    # A first step: what is compiled beyond the blocks, the update above all, and what shapes of real rows bring about.
    batch = batches.batch(1)
    chunks = micro_batches(len(batch.rows), spec.micro_batch_size, 0, ranks)
    clear_gradients(model)
    accumulate_gradients(
        model, batch, chunks, spec.objective.normalisation, micro_batches=len(chunks), autocast=chosen.recipe.autocast
    )
    norm = gradient_norm(gradients(model))
    optimizer.update(1, 0.0, clip_factor(norm, spec.optimizer.clip_norm))
    keep_kernels(kernels, were_loaded=were_loaded)
