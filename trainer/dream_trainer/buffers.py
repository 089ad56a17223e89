"""Host memory that saves copy the state into: one set of buffers or two, allocated once and pinned for a GPU.

Pinning is slow, so a thread does it while the model loads; in runs of some tensors, since CUDA lets no copy pass while
it pins. Large pages make it faster where the kernel has them.
"""

from __future__ import annotations

import math
import mmap
import queue
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_PINNED_AT_ONCE = 2**29
_PORTABLE = 1
"""cudaHostRegisterPortable: pinned for every CUDA context."""

Buffers = dict[str, Tensor]


class BufferSets:
    """Sets of buffers shaped like `state`; whoever takes a set gives it back."""

    def __init__(self, state: Mapping[str, Tensor], count: int, device: torch.device) -> None:
        self._layout = [(name, tensor.shape, tensor.dtype, tensor.nbytes) for name, tensor in state.items()]
        self._device = device
        self._free: queue.SimpleQueue[Buffers | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._allocate, args=(count,), name="host-buffers", daemon=True)
        self._thread.start()

    @property
    def available(self) -> bool:
        return not self._free.empty()

    def wait(self) -> None:
        """Until all sets are allocated. CUDA lets no copy pass while it pins."""
        self._thread.join()

    def take(self) -> Buffers:
        """Waits until a set is free."""
        taken = self._free.get()
        if isinstance(taken, BaseException):
            raise taken
        return taken

    def give_back(self, buffers: Buffers) -> None:
        self._free.put(buffers)

    def _allocate(self, count: int) -> None:
        for number in range(count):
            try:
                self._free.put(self._one_set())
            except BaseException as error:
                if number == 0:
                    self._free.put(error)
                else:  # One set is enough: a save then waits for the one before it.
                    print(f"dream_trainer: no second set of buffers for saves: {error}", file=sys.stderr)
                return

    def _one_set(self) -> Buffers:
        """Views of one block: torch would round every pinned tensor up to a power of two."""
        starts = [0]
        for _, _, _, size in self._layout:
            starts.append(starts[-1] + math.ceil(size / mmap.PAGESIZE) * mmap.PAGESIZE)
        block = _pages(max(starts[-1], 1))
        if self._device.type == "cuda":
            self._pin(block, starts)
        return {
            name: block[start : start + size].view(dtype).view(shape)
            for start, (name, shape, dtype, size) in zip(starts, self._layout, strict=False)
        }

    def _pin(self, block: Tensor, starts: list[int]) -> None:
        """A copy must not lie across two runs, so that they end with tensors."""
        cuda: Any = torch.cuda.cudart()  # None, by its type, where there is no CUDA.
        begin = 0
        for end in starts[1:]:
            if end - begin < _PINNED_AT_ONCE and end < starts[-1]:
                continue
            run, begin = block[begin:end], end
            with torch.cuda.device(self._device):  # Else this thread would open a context on the first device.
                status = int(cuda.cudaHostRegister(run.data_ptr(), run.nbytes, _PORTABLE))
            if status:  # Slower by far, but as right.
                print(f"dream_trainer: saves go through memory that is not pinned: CUDA {status}", file=sys.stderr)
                return
            weakref.finalize(self, cuda.cudaHostUnregister, run.data_ptr())


def _pages(size: int) -> Tensor:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
