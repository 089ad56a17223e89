"""`python -m dream_trainer bench train|sample|checkpoint [--json FILE] …`: a table, and the same as JSON.

Weights are random, of a real model's shapes: what is measured does not depend on them.
"""

from __future__ import annotations

import importlib
import sys

COMMANDS = ("train", "sample", "checkpoint")


def main(argv: list[str]) -> int:
    if argv and argv[0] in COMMANDS:
        return importlib.import_module(f"dream_trainer.bench.{argv[0]}").main(argv[1:])
    print(f"usage: python -m dream_trainer bench {'|'.join(COMMANDS)} [--help] …", file=sys.stderr)
    return 0 if argv and argv[0] in ("-h", "--help") else 2
