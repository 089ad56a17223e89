"""Sharded weights (FSDP2): each rank holds a run of rows of every matrix, and gathers whole blocks one by one.

Embeddings and head are gathered from the start of a forward pass to the end of its backward pass: the loss multiplies
by the head outside of any module. Gradients are summed over ranks after every block of every micro-batch, not once a
step: until then each rank would hold whole gradients, half of what sharding is there to save. They are sums and no
means, since losses are divided by the count of the whole batch.

Norms, biases and adapters stay whole on each rank, as does a matrix that cannot be cut between blocks of 8-bit moments;
their gradients are summed once a step (`Ranks.sum_gradients`).

Shards are DTensors and their model is an FSDPModule, told here by what only these have: to import torch's modules takes
half a second, which no training without them should wait for.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .distributed import Ranks
from .model import DreamModel
from .pieces import Piece
from .quantised import BLOCK


def shard(model: DreamModel, ranks: Ranks) -> None:
    """Makes each matrix of a model on the meta device a shard. From here on all ranks make the same forward and
    backward passes, of which every one gathers from all."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    whole = {
        parameter
        for name, parameter in model.named_parameters()
        if ".lora_" in name or not _can_be_shared(parameter.shape, ranks.count)
    }
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, ignored_params=whole)
    fully_shard(model, mesh=mesh, ignored_params=whole, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(model, "hidden_at")


def follow_compiled(model: DreamModel) -> None:
    """A compiled model calls the halves of its last block one by one: each gathers the block."""
    if is_sharded(model):
        from torch.distributed.fsdp import register_fsdp_forward_method

        for half in ("attend", "feed"):
            register_fsdp_forward_method(model.model.layers[-1], half)


def reshard(model: nn.Module) -> None:
    """Gives back what a forward pass without a backward pass has left gathered."""
    if is_sharded(model):
        sharded: Any = model
        sharded.reshard()


def is_sharded(what: Tensor | nn.Module) -> bool:
    return hasattr(what, "to_local" if isinstance(what, Tensor) else "reshard")


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of it, detached: the same memory. Asked for anew at each use, since a shard may move at the
    first forward pass."""
    shard: Any = tensor.detach()
    return shard.to_local() if is_sharded(tensor) else shard


def piece_of(tensor: Tensor) -> Piece | None:
    """Which rows are this rank's; None of a tensor that is whole."""
    if not is_sharded(tensor):
        return None
    start = dist.get_rank() * _rows_of_each(tensor.shape, dist.get_world_size())
    return Piece(start, start + len(local(tensor)), tuple(tensor.shape))


def first_element(tensor: Tensor) -> int:
    """The place of this rank's first element in the whole tensor, flattened."""
    piece = piece_of(tensor)
    return piece.start * math.prod(piece.shape[1:]) if piece else 0


def as_shard(rows: Tensor, of: Tensor) -> Tensor:
    """This rank's rows as a shard of a tensor like `of`; where that is whole, as they are."""
    if not is_sharded(of):
        return rows
    from torch.distributed.tensor import DTensor

    like: Any = of
    return DTensor.from_local(
        rows, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def gathered(rows: Tensor, piece: Piece | None) -> Tensor:
    """The whole tensor, on every rank: all ranks ask for it together."""
    if piece is None:
        return rows
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=rows.device)
    counts[dist.get_rank()] = len(rows)
    dist.all_reduce(counts)
    most = int(counts.max())
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])


def sum_over_ranks(number: Tensor) -> Tensor:
    dist.all_reduce(number)
    return number


def _rows_of_each(shape: Any, ranks: int) -> int:
    """Of every rank but the last, which may have fewer."""
    return math.ceil(shape[0] / ranks)


def _can_be_shared(shape: torch.Size, ranks: int) -> bool:
    rows = _rows_of_each(shape, ranks)
    return len(shape) == 2 and rows * (ranks - 1) < shape[0] and rows * shape[1] % BLOCK == 0
