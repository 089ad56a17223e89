"""Grades predictions against references, each comparison under a time limit in a process of its own.

    python -m dream_trainer grade [--timeout-seconds 5] < pairs.jsonl > grades.jsonl

A line `{reference, prediction}` in, a line `{verdict, extracted, reason}` out, in order, as they come.
"""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal

from .answers import predicted_answer, reference_answer
from .failures import EXIT_INVALID, TrainerFailure, invalid

STARTUP_SECONDS = 120
"""To import computer algebra on a busy machine."""


@dataclass(frozen=True)
class Grade:
    verdict: Literal["correct", "incorrect", "ungradable"]
    extracted: str | None
    reason: str


class OutOfTime(Exception):
    """A comparison took longer than its limit, or took its process down."""


class Grader:
    """Compares in one warm process, which a comparison out of time takes with it; use as a context manager."""

    def __init__(self, timeout_seconds: float = 5.0) -> None:
        self.timeout_seconds = timeout_seconds
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def grade(self, reference: str, prediction: str) -> Grade:
        expected = reference_answer(reference)
        extracted = predicted_answer(prediction)
        if expected is None:
            return Grade("ungradable", extracted, "the reference states no answer that a program can check")
        if extracted is None:
            return Grade("incorrect", None, "no answer found")
        try:
            same, how = self._compare(expected, extracted)
        except OutOfTime as error:
            return Grade("ungradable", extracted, str(error))
        verdict = "correct" if same else "incorrect"
        return Grade(verdict, extracted, f"{'equals' if same else 'differs from'} {expected} ({how})")

    def _compare(self, expected: str, extracted: str) -> tuple[bool, str]:
        worker = self._worker or self._start()
        assert worker.stdin is not None
        task = {"reference": expected, "answer": extracted, "seconds": self.timeout_seconds}
        try:
            worker.stdin.write(json.dumps(task) + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            self.close()
            raise OutOfTime("the comparison's process died") from None
        reply = self._reply(worker, self.timeout_seconds)
        return bool(reply["equal"]), str(reply["how"])

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dream_trainer.equivalence"]
        self._worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reply(self._worker, STARTUP_SECONDS)
        return self._worker

    def _reply(self, worker: subprocess.Popen[str], seconds: float) -> dict[str, object]:
        # A reply is one short line written at once, so that readable means whole.
        assert worker.stdout is not None
        began = time.monotonic()
        readable, _, _ = select.select([worker.stdout], [], [], seconds)
        line = worker.stdout.readline() if readable else ""
        if line:
            return json.loads(line)
        self.close()
        ended = "the comparison's process died" if readable else "the comparison ran out of time"
        raise OutOfTime(f"{ended} after {time.monotonic() - began:.1f} s")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dream_trainer grade", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--timeout-seconds", type=float, default=5.0, help="limit of one comparison (default 5)")
    arguments = parser.parse_args(argv)
    with Grader(arguments.timeout_seconds) as grader:
        for number, line in enumerate(sys.stdin, 1):
            if not line.strip():
                continue
            try:
                reference, prediction = _pair(line, number)
            except TrainerFailure as failure:
                print(failure.message, file=sys.stderr)
                return EXIT_INVALID
            print(json.dumps(asdict(grader.grade(reference, prediction)), ensure_ascii=False), flush=True)
    return 0


def _pair(line: str, number: int) -> tuple[str, str]:
    try:
        pair = json.loads(line)
    except json.JSONDecodeError as error:
        pair = f"{line[:60]!r} ({error.msg})"
    if (
        isinstance(pair, dict)
        and set(pair) == {"reference", "prediction"}
        and all(isinstance(v, str) for v in pair.values())
    ):
        return pair["reference"], pair["prediction"]
    found = sorted(pair) if isinstance(pair, dict) else pair
    raise invalid(
        f"line {number} of the pairs",
        str(found),
        "a JSON object of two strings, reference and prediction",
        "mend this line",
    )
