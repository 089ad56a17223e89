"""What a run's events say to people, a line each: `train.log` and `eval.log`."""

from __future__ import annotations

import contextlib
import time
from typing import Any

_STEP_EVERY_SECONDS = 1.0
"""Steps between two lines are left out: the log of a week stays readable."""


class Journal:
    def __init__(self) -> None:
        self._steps = "?"
        self._next_step_at = 0.0

    def tell(self, event: dict[str, Any]) -> None:
        line = self._line(event)
        if line is None:
            return
        with contextlib.suppress(OSError):  # Nobody may read it any more.
            print(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event["at"])), line, flush=True)

    def _line(self, event: dict[str, Any]) -> str | None:
        """None where an event is not worth one: the end of a save or a validation tells more than its begin."""
        match event["type"]:
            case "phase" if event["phase"] not in ("train", "save", "validation"):
                return f"phase {event['phase']}"
            case "plan":
                self._steps = f"{event['steps']}"
                return (
                    f"{event['parameters']:,} parameters by recipe {event['recipe']} on {event['ranks']} × "
                    f"{event['device']}; {event['rows']:,} rows, {event['stepsPerEpoch']:,} steps an epoch; "
                    f"from step {event['fromStep']}"
                )
            case "step":
                return self._step(event)
            case "validation":
                return f"{self._at(event)}  validation loss {event['loss']:.4f} over {event['rows']:,} rows"
            case "checkpoint":
                return (
                    f"{self._at(event)}  checkpoint ({event['reason']}), {event['bytes'] / 2**20:,.1f} MiB in "
                    f"{event['seconds']:.1f} s; training stood still for {event['stallSeconds']:.3f} s"
                )
            case "shard":
                return f"{event['samplesDone']:,} of {event['samples']:,} samples"
            case "done":
                return f"done in {event['seconds']:.0f} s; peak memory {event['peakMemoryBytes'] / 2**30:.2f} GiB"
        return None

    def _step(self, event: dict[str, Any]) -> str | None:
        if event["leftOut"]:
            return f"{self._at(event)}  left out"
        if event["at"] < self._next_step_at and f"{event['step']}" != self._steps:
            return None
        self._next_step_at = event["at"] + _STEP_EVERY_SECONDS
        return (
            f"{self._at(event)}  epoch {event['epoch'] + 1}  loss {event['loss']:.4f}  "
            f"learning rate {event['learningRate']:.3g}  gradient norm {event['gradNorm']:.3f}  "
            f"{event['tokens'] / max(event['seconds'], 1e-9):,.0f} tokens/s"
        )

    def _at(self, event: dict[str, Any]) -> str:
        return f"step {event['step']}/{self._steps}"
