"""Kernels that repeat to the bit, for training and for answers."""

from __future__ import annotations

import os

import torch


def make_deterministic(threads: int | None) -> None:
    """Called before cuBLAS is used, which reads its settings once; without its workspace products do not repeat.
    cuDNN's attention has no deterministic backward pass, so it is left out. Products of float32 are of float32: some
    container images ask for TF32's 10 bits by TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, and would give weights of their own."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads or 1)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("highest")
    # A property of the module, which its type does not tell.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_cudnn_sdp(False)
