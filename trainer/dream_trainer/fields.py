"""Builds frozen dataclasses from JSON: every field checked, every unknown field refused by its nearest known name.

A checker takes (value, where) and returns the value or raises InvalidSpec. Field names are snake_case in Python and
camelCase in JSON.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any, TypeVar

from .failures import TrainerFailure, invalid

Checker = Callable[[Any, str], Any]
T = TypeVar("T")


def _wrong(where: str, value: object, expected: str) -> TrainerFailure:
    return invalid(f"spec, {where}", json.dumps(value, ensure_ascii=False)[:200], expected, "mend the spec")


def integer(low: int, high: int | None = None) -> Checker:
    def check(value: Any, where: str) -> int:
        # JSON has one kind of number: 8.0 is an integer as 8 is.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or value < low or (high is not None and value > high):
            raise _wrong(where, value, f"an integer of at least {low}" + ("" if high is None else f", at most {high}"))
        return value

    return check


def number(
    *, above: float | None = None, low: float | None = None, below: float | None = None, high: float | None = None
) -> Checker:
    bounds = [
        (above, "above", lambda v, b: v > b),
        (low, "at least", lambda v, b: v >= b),
        (below, "below", lambda v, b: v < b),
        (high, "at most", lambda v, b: v <= b),
    ]
    expected = "a number" + "".join(f", {told} {bound:g}" for bound, told, _ in bounds if bound is not None)

    def check(value: Any, where: str) -> float:
        if type(value) not in (int, float) or any(
            bound is not None and not holds(value, bound) for bound, _, holds in bounds
        ):
            raise _wrong(where, value, expected)
        return float(value)

    return check


def choice(*allowed: str) -> Checker:
    def check(value: Any, where: str) -> str:
        if value not in allowed:
            raise _wrong(where, value, f"one of {', '.join(allowed)}")
        return value

    return check


def boolean(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise _wrong(where, value, "true or false")
    return value


def text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(where, value, "a text that is not empty")
    return value


def path(value: Any, where: str) -> Path:
    return Path(text(value, where))


def nullable(checker: Checker) -> Checker:
    return lambda value, where: None if value is None else checker(value, where)


def list_of(checker: Checker) -> Checker:
    def check(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return tuple(checker(entry, f"{where}[{index}]") for index, entry in enumerate(value))

    return check


def nested(kind: type) -> Checker:
    return lambda value, where: parse(kind, value, where)


def required(checker: Checker) -> Any:
    return field(metadata={"check": checker})


def optional(checker: Checker, default: Any) -> Any:
    return field(default=default, metadata={"check": checker})


def parse(kind: type[T], value: Any, where: str = "") -> T:
    """Builds the dataclass `kind` from a JSON object: every field checked, unknown ones refused by nearest name."""
    if not isinstance(value, dict):
        raise _wrong(where or "as a whole", value, "an object")
    # That T is a dataclass cannot be said with a type variable.
    known = {_camel(f.name): f for f in fields(kind)}  # type: ignore[arg-type]
    prefix = where + "." if where else ""
    for name in value:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            expected = f"a known field, the nearest is {nearest[0]}" if nearest else f"one of {', '.join(known)}"
            raise invalid("spec", f"the unknown field {prefix}{name}", expected, "rename or remove it")
    arguments: dict[str, Any] = {}
    for name, declared in known.items():
        if name in value:
            arguments[declared.name] = declared.metadata["check"](value[name], prefix + name)
        elif declared.default is MISSING:
            raise invalid("spec", f"no {prefix}{name}", "the field", "add it")
    return kind(**arguments)


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise invalid(f"spec {file}", error.strerror or str(error), "a readable file", "check --spec") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise invalid(f"spec {file}", f"text that is not JSON ({error})", "a JSON object", "write it again") from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
