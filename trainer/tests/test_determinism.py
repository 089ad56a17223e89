"""Numerics are the trainer's own, whatever the environment asks of torch."""

from __future__ import annotations

import os
import subprocess
import sys

from .reference import REPOSITORY


def test_products_of_float32_stay_float32_where_the_environment_asks_for_tf32() -> None:
    code = """
import torch
from dream_trainer.determinism import make_deterministic
assert torch.backends.cuda.matmul.allow_tf32
make_deterministic(None)
assert not torch.backends.cuda.matmul.allow_tf32 and torch.get_float32_matmul_precision() == "highest"
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer"), "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
