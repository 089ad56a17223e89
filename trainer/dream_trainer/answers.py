"""Finds the answer that a text states: in its last box, after "the answer is", or as the whole of a short text.

Nothing is guessed: a number in running text is not an answer.
"""

from __future__ import annotations

import re

LONGEST_BARE_ANSWER = 60
"""Characters of a text that may be an answer as a whole."""

WORDS_OF_AN_ANSWER = 5
"""A statement of more words is prose, which no program can compare."""

LONGEST_CONCLUSION = 400
"""Characters at the end of a worked solution in which "the answer is …" is its conclusion, not a remark on the way."""

DIFFERENT_BOXES = 3
"""A worked solution with more boxes than this, all different, numbers its steps with them."""

_BOX = re.compile(r"\\f?boxed\s*\{")
_LABEL = re.compile(
    r"^[\s#*_>]*(?:the\s+)?(?:final\s+|correct\s+)?answer[\s*_]*[:：][\s*_]*", re.IGNORECASE | re.MULTILINE
)
_CHINESE = re.compile(r"答案(?:应该|应)?(?:是|为|[:：])[:：]?\s*")
_SENTENCE = re.compile(
    r"\b(?:answer|(?:correct|right)\s+(?:option|choice))(?:\s+(?:to|in|for)\s+[^.:\n]{1,40}?)?"
    r"(?:\s+(?:is|of)\b|\s*[:=])(?:\s+(?:thus|then|therefore|simply|just|indeed|equal\s+to))?\s*:?[\s*_]*",
    re.IGNORECASE,
)
_MATHS = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<!\b[A-Z])[.!?](?=\s|$)|[。！？]|(?<=\b[A-J])\.(?=\s|$)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_FUNCTIONS = frozenset(
    [
        *("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
        *("ln", "log", "exp", "sqrt", "pi", "mod", "gcd", "lcm", "min", "max"),
    ]
)
_PROOF = re.compile(
    r"\\blacksquare|\\qed\b|∎|\bQ\.?E\.?D\b|"
    r"(?:complet|conclud)es the proof|\bhave (?:shown|proved|proven) that|\bas (?:required|desired)\b",
    re.IGNORECASE,
)
_RELATION = re.compile(r"<|>|≤|≥|\\(?:leq?|geq?|lt|gt|equiv|neq?|subset(?:eq)?|in)(?![A-Za-z])")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mathbf|operatorname)\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\[A-Za-z]+")


def boxes(text: str) -> list[str]:
    r"""What stands in each `\boxed{…}`, in order; a box whose braces do not close is left out."""
    found: list[str] = []
    for match in _BOX.finditer(text):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            if text[end] == "\\":
                end += 2
                continue
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if depth == 0 and (content := text[match.end() : end - 1].strip()):
            found.append(content)
    return found


def words(answer: str) -> int:
    """Ordinary words in an answer: neither LaTeX commands nor names of functions."""
    plain = _COMMAND.sub(" ", _TEXT_COMMAND.sub(r" \1 ", answer))
    return sum(word.lower() not in _FUNCTIONS for word in _WORD.findall(plain))


def predicted_answer(text: str) -> str | None:
    """The answer a prediction states, or None."""
    boxed = boxes(text)
    return boxed[-1] if boxed else _stated(text) or _whole(text)


def reference_answer(text: str) -> str | None:
    """The answer a reference states if a program can check it; None for a proof, a derivation or prose."""
    boxed = boxes(text)
    if boxed:
        answer = boxed[-1]
        is_statement_of_proof = _PROOF.search(text) and _RELATION.search(answer)
        numbers_steps = len(set(boxed)) > DIFFERENT_BOXES
        if is_statement_of_proof or numbers_steps:
            return None
    else:
        answer = _concluded(text) or _whole(text)
    return answer if answer and words(answer) <= WORDS_OF_AN_ANSWER else None


def _stated(text: str) -> str | None:
    """The last statement of an answer; a label ("Answer: B") before a sentence ("the answer is B")."""
    return _last(_LABEL, text) or _last(_CHINESE, text) or _last(_SENTENCE, text)


def _concluded(text: str) -> str | None:
    """The answer a worked solution ends with: labelled, or a number, formula, yes or no in its last sentence."""
    if answer := _last(_LABEL, text) or _last(_CHINESE, text):
        return answer
    ending = text.rstrip()[-LONGEST_CONCLUSION:]
    answer = _last(_SENTENCE, ending)
    is_term = answer and (
        not words(answer) or re.search(r"\d", answer) or answer.lower() in ("yes", "no", "true", "false")
    )
    return (
        answer
        if answer and is_term and not _SENTENCE_END.search(ending[ending.rfind(answer) :].rstrip(" .$\\)]\n"))
        else None
    )


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    statements = (_statement(text[match.end() :]) for match in reversed(list(pattern.finditer(text))))
    return next((answer for answer in statements if answer), None)


def _statement(rest: str) -> str | None:
    """The answer that `rest`, the text after "the answer is", opens with."""
    rest = rest.lstrip()
    if rest.startswith(("$", "\\(", "\\[")):
        sentence = _sentence(rest, keep_lines=True)
        spans = [
            next(part for part in match.groups() if part is not None).strip() for match in _MATHS.finditer(sentence)
        ]
        if not spans:
            return None
        between = _WORD.findall(_MATHS.sub(" ", sentence))
        several = len(spans) > 1 and all(word in ("or", "and") for word in between)
        return (", ".join(span.rstrip(",;") for span in spans) if several else spans[0]).rstrip(".,;") or None
    line = rest.split("\n", 1)[0]
    option = re.match(r"(?:[(\[](?=[A-J][)\]]))?([A-J])(?:[)\]]|(?=[\s.,;:*。，]|$)(?!\s+[a-z]))", line)
    if option:
        letters = re.match(r"[A-J()\[\],;&\s]*(?:(?:and|和|、)\s*[(\[]?[A-J][)\]]?[\s,]*)*(?=\W*$)", line)
        return letters[0].strip(" ,;") if letters and letters[0].strip() else option[1]
    sentence = _sentence(line).strip().strip("*_`\"'“” ").rstrip(" .,;。，")
    if not sentence:
        return None
    if words(sentence) <= 3 or (words(sentence) <= WORDS_OF_AN_ANSWER and sentence.isupper()):
        return sentence.replace("$", "")
    last = list(_MATHS.finditer(sentence))
    if (
        len(last) == 1
        and last[0].end() == len(sentence)
        and re.search(r"\b(?:is|are|equals)\s*$", sentence[: last[0].start()])
    ):
        return next(part for part in last[0].groups() if part is not None).strip()
    return None


def _sentence(text: str, keep_lines: bool = False) -> str:
    """`text` to the end of its first sentence; full stops within maths do not count."""
    hidden = _MATHS.sub(lambda match: "x" * len(match[0]), text)
    end = _SENTENCE_END.search(hidden)
    cut = end.start() if end else len(text)
    if keep_lines and (blank := re.search(r"\n\s*\n", hidden)):
        cut = min(cut, blank.start())
    return text[:cut]


def _whole(text: str) -> str | None:
    """`text` itself if it is one short line that is nothing but an answer."""
    answer = text.strip().strip("*_` ").removesuffix(".").strip()
    if not answer or "\n" in answer or len(answer) > LONGEST_BARE_ANSWER or words(answer) > 3:
        return None
    return re.sub(r"^\$+|\$+$|^\\[(\[]|\\[)\]]$", "", answer).strip() or None
