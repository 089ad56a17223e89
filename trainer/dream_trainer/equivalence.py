"""Decides whether two stated answers are the same: options, truth values, text, numbers, lists, then mathematics.

Run as a program it answers JSON lines `{reference, answer, seconds}` with `{equal, how}`: `grading` keeps one such
process, because a comparison can hang in computer algebra and is then killed with it.

Numbers. A reference without a decimal point or exponent is exact. One with them is a measured value: right within half
a unit of its last digit, but no more than 1 %, and 0.1 % is always allowed unless it is whole ("1007.0"). A decimal
answer to an exact fraction, root or constant is right to 0.02 %.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from decimal import Decimal, InvalidOperation

MEMORY_BYTES = 4 << 30
"""Address space of a comparison; a tower of powers would take all there is."""

_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][-+]?\d+)?")
_SCIENTIFIC = re.compile(r"(.*?\d\.?)\s*(?:\\times|\\cdot|×|\*|·)\s*10\s*(?:\^|\*\*)\s*\{?\s*([-+−]?\d+)\s*\}?")
_OPTIONS = re.compile(r"[(\[]?[A-J][)\].:]?(?:(?:\s*(?:,|;|&|\band\b|和|、)\s*|\s*)[(\[]?[A-J][)\].:]?)*")
_LED_BY_OPTION = re.compile(r"[(\[]?([A-J])[)\].:]\s*\S")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False, "是": True, "否": False, "对": True, "错": False}
_NAME = r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'?(?:\([^()=]*\))?"
_ASSIGNED = re.compile(rf"^\s*(?:{_NAME}|\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\))\s*(?:=|≈|\\approx)\s*(?=\S)")
_EQUALS = re.compile(r"(?<![<>!\\:])(?:=|≈|\\approx(?![a-z]))")
_OPEN, _CLOSE = "([{", ")]}"


def equal(reference: str, answer: str) -> tuple[bool, str]:
    """Whether they are equal, and the comparison that told."""
    reference, answer = _plain(reference), _plain(answer)
    if _folded(reference) == _folded(answer):
        return True, "the same text"
    if (options := _options(reference)) is not None:
        return _options(answer) == options, "option letters"
    if (truth := _TRUTH.get(_folded(reference))) is not None:
        return _TRUTH.get(_folded(answer)) is truth, "truth value"
    if _is_text(reference):
        return False, "text"
    reference, answer = _value(reference), _value(answer)
    expected, found = _number(reference), _number(answer)
    if expected is not None and found is not None:
        return abs(found - expected) <= _tolerance(reference, expected), "numbers"
    parts, given = _parts(reference), _parts(answer)
    if len(parts) > 1 or len(given) > 1:
        if len(parts) != len(given):
            return False, f"lists of {len(parts)} and {len(given)}"
        return _same_brackets(reference, answer) and _same_parts(reference, parts, given), "lists"
    return _same_mathematics(reference, answer)


def _plain(answer: str) -> str:
    """Without what only typesets: dollars, spacing, sizes, a text command round the whole, a full stop."""
    answer = (
        answer.replace("−", "-").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").strip().strip("$").strip()
    )
    answer = re.sub(r"\\(?:left|right|bigl?|bigr?|Bigl?|Bigr?)(?![A-Za-z])|(?<!\\)\\[,;!: ]|~", " ", answer)
    while whole := re.fullmatch(r"\\(?:text|mathrm|textbf|mathbf|boxed|displaystyle)\s*\{([^{}]*)\}", answer.strip()):
        answer = whole[1]
    return answer.strip().rstrip(".,;").strip()


def _folded(text: str) -> str:
    return re.sub(r"[\s{}]+", "", text).casefold()


def _options(answer: str) -> frozenset[str] | None:
    """The letters of a choice, in any order; None for any other answer. `AA` is a word, not a choice."""
    text = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", answer).strip()
    if _OPTIONS.fullmatch(text):
        letters = re.findall(r"[A-J]", text)
        return frozenset(letters) if len(letters) == len(set(letters)) else None
    led = _LED_BY_OPTION.match(text)
    return frozenset(led[1]) if led else None


def _is_text(answer: str) -> bool:
    """Words, chemical formulas and the like, where letters are not variables to multiply."""
    return bool(
        re.fullmatch(r"[^\\=+*/^<>_$()\[\]{}|-]*", answer) and re.search(r"[^\W\d_]{2,}", answer)
    ) and not _units(answer)


def _units(answer: str) -> re.Match[str] | None:
    """A number with a unit behind it ("37 square metres", "2.00 \\text{ s}", "12 cm^{2}")."""
    unit = (
        r"(?:\\(?:text|mathrm|operatorname)\s*\{[^{}]*\}(?:\^\{?[-\d]+\}?)?"
        r"|[A-Za-zµΩ°/ ]+(?:\^\{?[-\d]+\}?)?|\^\{?\\circ\}?\s*\w?|\\%|%)"
    )
    return re.fullmatch(rf"(?:\\?\$)?(?=[-+−]?\.?\d)({_NUMBER.pattern}|{_SCIENTIFIC.pattern})\s*{unit}", answer)


def _value(answer: str) -> str:
    """What stands behind "x =", or behind the last "=" of a chain, without the unit of a number."""
    while assigned := _ASSIGNED.match(answer):
        if _EQUALS.search(answer[assigned.end() :]) and "," in answer:
            break
        answer = answer[assigned.end() :]
    sides = _EQUALS.split(answer)
    if (
        len(sides) > 1
        and ("," not in answer)
        and (len(sides) > 2 or not re.search(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", sides[0]))
    ):
        answer = sides[-1]
    answer = answer.strip().removeprefix("\\$")
    with_unit = _units(answer)
    is_percent = "%" in answer
    return (
        with_unit[1].strip() if with_unit and not is_percent and _number(with_unit[1].strip()) is not None else answer
    )


def _number(answer: str) -> Decimal | None:
    text = answer.strip().strip("()").replace("−", "-").replace("{,}", ",")
    if scientific := _SCIENTIFIC.fullmatch(text):
        text = f"{scientific[1].rstrip('.')}e{scientific[2].replace('−', '-')}"
    if not _NUMBER.fullmatch(text) or not re.search(r"\d", text):
        return None
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None


def _tolerance(text: str, value: Decimal) -> Decimal:
    if not re.search(r"\.|\d[eE]|10\s*(?:\^|\*\*)", text):
        return Decimal(0)
    exponent = value.as_tuple().exponent
    half_unit = Decimal(5).scaleb(int(exponent) - 1)
    within = min(half_unit, abs(value) / 100)
    return (
        within
        if value == value.to_integral_value() and "e" not in str(value).lower()
        else max(within, abs(value) / 1000)
    )


def _parts(answer: str) -> list[str]:
    """The elements of a list, tuple, set or row of answers; one element for anything else."""
    inner = answer.strip().replace("\\{", "{").replace("\\}", "}")
    if len(inner) > 1 and inner[0] in _OPEN and inner[-1] in _CLOSE and _closes_at_end(inner):
        inner = inner[1:-1]
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", inner):
        return [inner]
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(inner):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if letter in ",;" and depth == 0:
            parts.append(inner[start:place].strip())
            start = place + 1
    parts.append(re.sub(r"^(?:and|or)\s+", "", inner[start:].strip()))
    if len(parts) == 1 and (pair := re.split(r"\s+(?:and|or)\s+", inner)):
        parts = pair
    return [part for part in parts if part]


def _closes_at_end(text: str) -> bool:
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth == 0:
            return place == len(text) - 1
    return False


def _same_brackets(reference: str, answer: str) -> bool:
    """Half-open intervals need their own brackets; `[2.0, 1.32]` and `(2.0, 1.32)` are one list."""
    pairs = [text.strip().replace("\\", "")[:1] + text.strip()[-1:] for text in (reference, answer)]
    return pairs[0] == pairs[1] or not ({"(]", "[)"} & set(pairs))


def _same_parts(reference: str, parts: list[str], given: list[str]) -> bool:
    """In order within brackets; solutions in a row or a set come in any order."""
    if reference.strip()[0] in "([" and _closes_at_end(reference.strip()):
        return all(equal(part, other)[0] for part, other in zip(parts, given, strict=True))
    left = list(given)
    for part in parts:
        match = next((other for other in left if equal(part, other)[0]), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_mathematics(reference: str, answer: str) -> tuple[bool, str]:
    # Imported here so that `grading`, which only starts this program, never loads computer algebra.
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    # Math-verify's own limits are signals within the process; the process itself is limited here.
    kinds = (LatexExtractionConfig(), ExprExtractionConfig())
    gold, target = (
        parse(f"${text}$", kinds, fallback_mode="no_fallback", parsing_timeout=0) for text in (reference, answer)
    )
    if not gold or not target:
        return False, "text, as one is no formula"
    if verify(gold, target, timeout_seconds=0):
        return True, "mathematics"
    expected, found = _evaluated(gold), _number(answer)
    is_decimal = found is not None and "." in answer
    if expected is not None and found is not None and is_decimal and expected != round(expected):
        return abs(float(found) - expected) <= 2e-4 * abs(expected), "a decimal of an exact value"
    measured, computed = _number(reference), _evaluated(target)
    if measured is not None and computed is not None:
        return abs(computed - float(measured)) <= float(_tolerance(reference, measured)), "an expression's value"
    return False, "mathematics"


def _evaluated(parsed: list[object]) -> float | None:
    try:
        # math-verify types what it parsed as objects: strings and SymPy expressions.
        value = complex(parsed[0].evalf(20))  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return value.real if value.imag == 0 else None


def main() -> None:
    import math_verify  # noqa: F401  loaded before the first comparison's time begins

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        # Should the parent be gone, the kernel ends a hung comparison.
        signal.setitimer(signal.ITIMER_REAL, task["seconds"] + 1)
        try:
            same, how = equal(task["reference"], task["answer"])
            reply = {"equal": same, "how": how}
        except Exception as error:  # computer algebra raises whatever it likes
            reply = {"equal": False, "how": f"comparison failed: {type(error).__name__}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
