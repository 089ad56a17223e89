"""`python -m tests.measure_shards INPUTS RUN_DIR`: the share of weights, gradients and moments that each of two ranks
holds after a step, a line a rank. Starts the two ranks itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from dream_trainer.events import Events
from dream_trainer.launch import launch
from dream_trainer.process import Termination
from dream_trainer.spec import TrainSpec

from .tiny import make_spec


def main(inputs: Path, run_dir: Path) -> int:
    spec_file = run_dir / "spec.json"
    if "RANK" not in os.environ:
        spec_file.write_text(json.dumps(make_spec(inputs, sharding="on")))
        return launch(2, sys.argv[1:], module="tests.measure_shards")
    from dream_trainer.distributed import Ranks
    from dream_trainer.loop import Attempt, smallest_gpu
    from dream_trainer.sharding import local

    ranks = Ranks.join()
    memory = smallest_gpu(ranks)
    attempt = Attempt(TrainSpec.load(spec_file), run_dir, Events(run_dir, ranks.rank), Termination(), {}, ranks, memory)
    attempt._train_step()
    parameters = list(attempt.model.parameters())
    whole = sum(parameter.nbytes for parameter in parameters)
    shares = [
        allocated(local(parameter) for parameter in parameters) / whole,
        allocated(local(p.grad) for p in parameters if p.grad is not None) / whole,
        allocated(attempt.optimizer.tensors.values()) / (2 * whole),
    ]
    os.write(1, (" ".join(f"{share:.4f}" for share in shares) + "\n").encode())
    ranks.leave()
    os._exit(0)


def allocated(tensors: Iterable[Tensor]) -> int:
    """Bytes of what they lie in: several may share one allocation."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
