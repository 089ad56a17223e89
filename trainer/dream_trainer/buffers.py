"""Host memory that saves copy the state into: one set of buffers or two, allocated once and pinned for a GPU.

Pinning is slow (20 s for 24 GiB), so a thread does it while the model loads.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_ALIGNMENT_BYTES = 64
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
        ends = [0]
        for _, _, _, size in self._layout:
            ends.append(ends[-1] + math.ceil(size / _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES)
        block = torch.empty(max(ends[-1], 1), dtype=torch.uint8)
        if self._device.type == "cuda":
            self._pin(block)
        return {
            name: block[start : start + size].view(dtype).view(shape)
            for start, (name, shape, dtype, size) in zip(ends, self._layout, strict=False)
        }

    def _pin(self, block: Tensor) -> None:
        cuda: Any = torch.cuda.cudart()  # None, by its type, where there is no CUDA.
        with torch.cuda.device(self._device):  # Else this thread would open a context on the first device.
            status = int(cuda.cudaHostRegister(block.data_ptr(), block.nbytes, _PORTABLE))
        if status == 0:
            weakref.finalize(self, cuda.cudaHostUnregister, block.data_ptr())
        else:  # Slower by far, but as right.
            print(f"dream_trainer: saves go through memory that could not be pinned: CUDA {status}", file=sys.stderr)
