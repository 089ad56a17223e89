"""Generates an answer to each row of a data set, in shards that survive a kill.

    python -m dream_trainer eval --spec FILE --run-dir DIR

Writes `DIR/shards/NNNNN.jsonl` and `DIR/events.jsonl`. SIGTERM gives up the shard under way and exits 75; the same
command goes on with the first shard that is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .classify import classify
from .events import Events
from .journal import Journal
from .process import Termination, die_with_parent


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dream_trainer eval", description="Generates answers to a data set.")
    parser.add_argument("--spec", type=Path, required=True, help="spec.json")
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of events.jsonl and shards")
    arguments = parser.parse_args(argv)
    die_with_parent()
    Termination()
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    events = Events(arguments.run_dir, rank=0, journal=Journal())
    events.phase("start")
    context: dict[str, int] = {}
    try:
        # Imported here: torch takes seconds, in which SIGTERM should be heard already.
        from .eval_spec import EvalSpec
        from .shards import write_shards

        spec = EvalSpec.load(arguments.spec)
        context["microBatchSize"] = spec.shard_size
        write_shards(spec, arguments.run_dir, events)
    except Exception as error:
        failure = classify(error, "generate", None, **context)
        events.incident(failure)
        print(failure.message, file=sys.stderr)
        return failure.exit_code
    return 0
