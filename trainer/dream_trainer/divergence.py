"""Tells a diverged step before its update is applied: NaN, infinity, or a loss far above the recent ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from .failures import TrainerFailure

WINDOW = 32
_MAD_TO_SIGMA = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""


def check_divergence(
    step: int, rows: Sequence[int], loss: float, grad_norm: float, recent: Sequence[float], factor: float | None
) -> None:
    """Raises Diverged, with step and rows. `recent` are losses of earlier steps; spikes need WINDOW of them."""
    details = {"step": step, "rows": list(rows), "loss": _json(loss), "gradNorm": _json(grad_norm)}
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise TrainerFailure(
            "Diverged",
            f"step {step}: loss {loss}, gradient norm {grad_norm}; expected finite numbers; "
            "go back to an earlier checkpoint and leave this batch out",
            step=step,
            details={"reason": "not finite", **details},
        )
    window = recent[-WINDOW:]
    if factor is None or len(window) < WINDOW:
        return
    median = statistics.median(window)
    deviation = _MAD_TO_SIGMA * statistics.median(abs(value - median) for value in window)
    # A window of equal losses has no deviation; a thousandth of the median then stands for it.
    limit = median + factor * max(deviation, 1e-3 * abs(median))
    if loss > limit:
        raise TrainerFailure(
            "Diverged",
            f"step {step}: loss {loss:.6g}; expected at most {limit:.6g} (median {median:.6g} of the last {WINDOW}, "
            f"{factor:g} robust deviations); go back to an earlier checkpoint and leave this batch out",
            step=step,
            details={"reason": "spike", "limit": limit, **details},
        )


def _json(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else str(value)
