"""Ranks: one process, or several that share each global batch (torchrun's environment; gloo on CPUs, NCCL on GPUs)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_BUCKET_ELEMENTS = 2**25


def own_device() -> torch.device:
    """That of this rank: the GPU of its number on this machine, or the CPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@dataclass(frozen=True)
class Ranks:
    rank: int
    count: int
    device: torch.device

    @staticmethod
    def join() -> Ranks:
        """Reads RANK, WORLD_SIZE and LOCAL_RANK and meets the other ranks, if there are any."""
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        device = own_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if count > 1:
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                timeout=timedelta(minutes=30),
                device_id=device if device.type == "cuda" else None,
            )
        return Ranks(rank, count, device)

    def leave(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()

    def all(self, own: T) -> list[T]:
        """What each rank tells, in their order."""
        if self.count == 1:
            return [own]
        told = [own] * self.count
        dist.all_gather_object(told, own)
        return told

    def sum_gradients(self, grads: Sequence[Tensor]) -> None:
        """Sums gradients over ranks in flat buckets, in the order of the parameters: always the same sums. For those of
        parameters that every rank holds whole; shards have been summed when they come."""
        if self.count == 1:
            return
        bucket: list[Tensor] = []
        size = 0
        for index, grad in enumerate(grads):
            bucket.append(grad)
            size += grad.numel()
            if size >= _BUCKET_ELEMENTS or index == len(grads) - 1:
                flat = torch.cat([grad.flatten() for grad in bucket])
                dist.all_reduce(flat)
                parts = flat.split([grad.numel() for grad in bucket])
                sums = [part.view_as(grad) for part, grad in zip(parts, bucket, strict=True)]
                # Not in torch's list of public names, but what its own optimizers are made of.
                torch._foreach_copy_(bucket, sums)  # pyright: ignore[reportPrivateImportUsage]
                bucket, size = [], 0

    def sum(self, *values: float) -> list[float]:
        """Sums numbers over ranks: losses, and flags on which all ranks must agree."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers)
        return numbers.tolist()
