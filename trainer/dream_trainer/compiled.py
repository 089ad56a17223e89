"""Compiles a model's blocks for training: once for all layers, and to the same kernels in every attempt.

What the compiler writes depends on the first shapes it sees, so that these are always those of the spec; no choice of
it is left to a measurement of time.
"""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

import torch

from .batches import Batch
from .block_mask import BLOCK
from .gradients import accumulate_gradients, clear_gradients
from .linear import product
from .micro_batches import micro_batches
from .model import DreamModel
from .sharding import follow_compiled, reshard
from .spec import TrainSpec

LARGE_MODEL_PARAMETERS = 1_000_000_000
"""From here on compiling is worth its minute, and `auto` does it on a GPU."""


def is_asked_for(spec: TrainSpec, model: DreamModel, device: torch.device) -> bool:
    return spec.compile == "on" or (spec.compile == "auto" and is_worth_compiling(model, device))


def is_worth_compiling(model: DreamModel, device: torch.device) -> bool:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return device.type == "cuda" and parameters >= LARGE_MODEL_PARAMETERS


def set_up_compiler(activation_budget: float = 1.0) -> None:
    # Seconds of import, which no restart of a training that does not compile should wait for.
    import torch._dynamo
    import torch._functorch.config
    import torch._inductor.config

    torch._functorch.config.activation_memory_budget = activation_budget
    torch._inductor.config.deterministic = True
    # What the compiler keeps is found by the graph around `product`, which says nothing of what is within.
    name = f"{product.__module__}.{product.__qualname__}"
    torch._inductor.config.unsafe_marked_cacheable_functions = {name: _source_of_products()}
    torch._dynamo.config.recompile_limit = 16


def _source_of_products() -> str:
    return hashlib.sha256(Path(inspect.getfile(product)).read_bytes()).hexdigest()


def compile_for(model: DreamModel, spec: TrainSpec, *, rows: int, ranks: int, autocast: bool) -> None:
    """All that a training on so many rows by so many ranks will call, but the update of its weights."""
    lengths_vary = spec.objective.cutoff != "none"
    compile_blocks(
        model,
        spec.activation_budget if spec.activation_checkpointing else 1.0,
        whole_rows=not lengths_vary and spec.max_tokens % BLOCK == 0 and spec.max_tokens >= 2 * BLOCK,
    )
    follow_compiled(model)
    sizes = {min(rows, spec.global_batch_size), rows % spec.global_batch_size}
    chunks = [
        chunk
        for size in sizes
        for rank in range(ranks)
        for chunk in micro_batches(size, spec.micro_batch_size, rank, ranks)
    ]
    shapes = warm_up_shapes({len(chunk) for chunk in chunks}, spec.max_tokens, lengths_vary)
    warm_up(model, shapes, autocast=autocast)
    reshard(model)


def compile_blocks(model: DreamModel, activation_budget: float, *, whole_rows: bool = False) -> None:
    """`whole_rows` promises that every batch of training has rows of whole blocks of attention, all of it visible.

    `activation_budget` is the share of activations that a block keeps for its backward pass, by the compiler's own
    count: 1 keeps what is fastest, 0 recomputes all but the block's input."""
    set_up_compiler(activation_budget)
    torch._dynamo.allow_in_graph(product)
    block: Any  # Methods are replaced, which a module's type does not foresee.
    for block in model.model.layers:
        block.forward = torch.compile(block.forward)
        block.attend = torch.compile(block.attend)
        block.feed = torch.compile(block.feed)
    model.is_compiled, model.has_whole_rows = True, whole_rows


def warm_up(model: DreamModel, shapes: list[tuple[int, int]], *, autocast: bool) -> None:
    """Compiles by doing: the backward pass, and the forward pass alone, of micro-batches of these rows and places,
    half masked. The first shape gets a graph of its own; the second makes the one that serves all others."""
    device = next(model.parameters()).device
    for rows, places in shapes:
        batch = _half_masked(model, rows, places)
        clear_gradients(model)
        accumulate_gradients(model, batch, [range(rows)], "global", micro_batches=1, autocast=autocast)
        clear_gradients(model)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            model.hidden_at(batch.noised_ids_BS.to(device), None, None, torch.arange(rows * places // 2).to(device))


def warm_up_shapes(micro_batches: set[int], places: int, lengths_vary: bool) -> list[tuple[int, int]]:
    """Shapes that bring about every graph that micro-batches of these sizes need, a function of the spec alone.

    The largest and longest comes first: what fits in memory there fits later. A single row is a graph of its own."""
    largest = max(micro_batches)
    shapes = [(largest, places)]
    if lengths_vary or len(micro_batches - {1}) > 1:
        shapes.append((max(largest - 1, min(largest, 2)), places // 2))
    if 1 in micro_batches and largest > 1:
        shapes += [(1, places), (1, places // 2)] if lengths_vary else [(1, places)]
    return shapes


def _half_masked(model: DreamModel, rows: int, places: int) -> Batch:
    ids_BS = torch.full((rows, places), model.config.mask_token_id)
    masked_BS = (torch.arange(places) % 2 == 1).repeat(rows, 1)
    masked_tokens = int(masked_BS.sum())
    return Batch(list(range(rows)), ids_BS, ids_BS, None, None, masked_BS, masked_BS.float(), masked_tokens)
