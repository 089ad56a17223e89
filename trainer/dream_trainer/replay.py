"""`python -m dream_trainer replay --spec FILE --run-dir DIR --until STEP [--ranks N]`: steps of a training once more.

From the base or the checkpoint that the spec names, to STEP: nothing is validated, saved or exported. `step` events
tell each loss and gradient norm, a `state` event the hashes of weights and optimizer at the end, and `done` the hash
that the exported weights would have. Exit status: as `train`.
"""

from __future__ import annotations

from .train import arguments_of, start


def main(argv: list[str]) -> int:
    parser = arguments_of("replay", __doc__)
    parser.add_argument("--until", type=int, required=True, help="the last step to be done")
    return start("replay", argv, parser.parse_args(argv))
