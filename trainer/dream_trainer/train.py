"""`python -m dream_trainer train --spec FILE --run-dir DIR [--ranks N]`: one attempt at a training run.

Exit status: 0 done; 75 saved on SIGTERM; 2 bad input; 73 disk full; 1 anything else. Every failure is an `incident`
event first.
With --ranks, N processes train together on this machine; torchrun's environment (RANK, WORLD_SIZE) works as well.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from .classify import classify, is_lost_peer
from .events import Events
from .failures import EXIT_PREEMPTED, Preempted, TrainerFailure
from .journal import Journal
from .launch import launch
from .process import Termination, die_with_parent
from .spec import TrainSpec

_LOST_PEER_SECONDS = 5.0
_KINDS_TOLD_BY_RANK_0 = ("InvalidSpec", "Diverged", "DiskFull")
"""All ranks meet these alike; the other kinds are told by the rank that they hit."""


def main(argv: list[str]) -> int:
    return start("train", argv, arguments_of("train", __doc__).parse_args(argv))


def arguments_of(command: str, description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"dream_trainer {command}", description=description)
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--ranks", type=int, default=1, help="processes on this machine that train together")
    parser.add_argument("--kernels", type=Path, help="file of compiled kernels, code that is run: read, else written")
    return parser


def start(command: str, argv: list[str], arguments: argparse.Namespace) -> int:
    """Returns only where it has launched ranks."""
    die_with_parent()
    if arguments.ranks > 1 and "RANK" not in os.environ:
        return launch(arguments.ranks, [command, *argv])
    until = getattr(arguments, "until", None)
    status = attempt(arguments.spec, arguments.run_dir, replay_until=until, kernels=arguments.kernels)
    # All is written. A thread that never ends must not hold the process: a save to a disk that is gone, or one that
    # lacked the memory to begin; torch's, torn down by the interpreter, now and then abort a rank that shared weights.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def attempt(spec_file: Path, run_dir: Path, *, replay_until: int | None = None, kernels: Path | None = None) -> int:
    termination = Termination()
    rank = int(os.environ.get("RANK", "0"))
    run_dir.mkdir(parents=True, exist_ok=True)
    events = Events(run_dir, rank, Journal())
    events.phase("start")
    where: dict[str, object] = {"phase": "start", "step": None}
    try:
        spec = TrainSpec.load(spec_file)
        prepare_environment(spec)
        from .loop import train  # Torch reads the environment when it is imported.

        return train(spec, run_dir, events, termination, where, replay_until=replay_until, kernels=kernels)
    except Preempted:
        return EXIT_PREEMPTED
    except BaseException as error:
        return fail(error, events, rank, where)


def prepare_environment(spec: TrainSpec) -> None:
    """What torch and its libraries read once: thread counts, which are part of the numerics."""
    threads = str(spec.threads or 1)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def fail(error: BaseException, events: Events, rank: int, where: dict[str, object]) -> int:
    """Tells the incident and ends with its status."""
    if is_lost_peer(error):
        time.sleep(_LOST_PEER_SECONDS)  # The launcher ends the others when one fails; that one tells why.
    phase, step = str(where["phase"]), where["step"]
    context = {key: value for key, value in where.items() if key not in ("phase", "step")}
    failure = classify(error, phase, step if isinstance(step, int) else None, **context)
    if rank == 0 or not (failure.kind in _KINDS_TOLD_BY_RANK_0 or is_lost_peer(error)):
        tell(failure, events)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stderr.flush()
        os._exit(failure.exit_code)  # Libraries that wait for lost ranks at exit would never return.
    return failure.exit_code


def tell(failure: TrainerFailure, events: Events) -> None:
    print(f"dream_trainer: {failure.kind}: {failure.message}", file=sys.stderr)
    for line in failure.details.get("traceback", []):
        print(line, end="", file=sys.stderr)
    try:
        events.incident(failure)
    except OSError as error:  # The disk that the events are on is full: standard error has to do.
        print(f"dream_trainer: the incident could not be written: {error}", file=sys.stderr)
