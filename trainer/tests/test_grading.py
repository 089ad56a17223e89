"""Answers found in texts, compared by kind, and graded under a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dream_trainer.answers import boxes, predicted_answer, reference_answer
from dream_trainer.equivalence import equal
from dream_trainer.grading import Grader

TRAINER = Path(__file__).parents[1]
REFERENCE = Path(os.environ.get("REVERIE_REFERENCE", TRAINER.parents[1] / "shared/data/reference"))
S1K = REFERENCE.parent / "s1k" / "s1k-problems.jsonl"


@pytest.fixture(scope="module")
def grader():
    with Grader(timeout_seconds=20) as grader:
        yield grader


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{1}, then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"Nested \boxed{\left\{ \frac{a}{b_{1}} \right\}}", r"\left\{ \frac{a}{b_{1}} \right\}"),
        (r"Cut off \boxed{12} and \boxed{13", "12"),
        ("Long reasoning, 3 of 4.\nAnswer: B", "B"),
        ("**Answer:** 42", "42"),
        ("So the final answer is $x = 5$. Checking: 5 + 1 = 6.", "x = 5"),
        ("The answer is (C) because the others fail.", "C"),
        ("The correct option is D.", "D"),
        ("The answer is\n$$\\frac{3}{4}$$", r"\frac{3}{4}"),
        ("The answer is 3.5 metres.", "3.5 metres"),
        ("所以答案是 7。", "7"),
        ("答案：BC", "BC"),
        ("42", "42"),
        ("$\\pi/2$", r"\pi/2"),
        ("B.", "B"),
        ("", None),
        ("I took 3 apples and then 5 more, so there were many apples.", None),
        ("There are 12 steps in this proof and I cannot finish it", None),
        ("The answer is not something that I am able to tell you here.", None),
    ],
)
def test_finds_the_answer_that_a_prediction_states_and_guesses_none(text: str, answer: str | None):
    assert predicted_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("-6e+25", "-6e+25"),
        ("ABD", "ABD"),
        ("Work.\n\nAnswer: C", "C"),
        ("### Answer: INCIDENT ROOM\n### Explanation: the answer is an anagram.", "INCIDENT ROOM"),
        ("Thus $a=2$, so the answer is 7521.", "7521"),
        (r"Hence the claim. \(\blacksquare\) The final answer is \(\boxed{a_n < \frac{1}{n-1}}\)", None),
        ("Let G be a group. Then it has a subgroup.\n\nTherefore G is abelian, as claimed.", None),
        ("We take the answer is 5 to be a bound. " + "Then much else follows from it. " * 20, None),
        (r"\boxed{\text{The triangle IMO is positively oriented and isosceles with two equal sides}}", None),
    ],
)
def test_a_reference_states_a_checkable_answer_or_none(text: str, answer: str | None):
    assert reference_answer(text) == answer


def test_boxes_are_read_with_their_braces():
    assert boxes(r"\boxed{1} \boxed{} \boxed {\{2, 3\}} \boxed{{4}}") == ["1", r"\{2, 3\}", "{4}"]


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        ("BC", "B, C", True),
        ("BC", "(C) and (B)", True),
        ("BC", "B", False),
        ("B", r"\text{B) } 12", True),
        ("A", "5", False),
        ("True", "true", True),
        ("False", "Yes", False),
        ("NYYYYY", "nyyyyy", True),
        ("CO", "OC", False),
        ("Clc1ccc2ncccc2c1", "Clc1ccc2ncccc2c1", True),
        ("Monday", r"\text{monday}", True),
        ("1007", "1,007", True),
        ("1007", "1007.0", True),
        ("1007", "1008", False),
        ("1007.0", "1008", False),
        ("0.0", "0", True),
        ("0.0", "0.04", False),
        ("-6e+25", r"-5.97 \times 10^{25}", True),
        ("-6e+25", "6e25", False),
        ("-6e+25", "-6.1e25", False),
        ("0.6734", "0.6735", True),
        ("0.6734", "0.68", False),
        ("7.2", r"7.2 \text{ m/s}", True),
        (r"\frac{1}{3}", "0.3333", True),
        (r"\frac{1}{3}", "0.3", False),
        (r"\frac{1}{2}", "0.5", True),
        ("0.5", r"\frac{1}{2}", True),
        (r"\frac{\pi}{4}", r"\pi/4", True),
        (r"2\sqrt{2}+\sqrt{6}", r"\sqrt{6}+\sqrt{8}", True),
        (r"2\sqrt{2}+\sqrt{6}", r"\sqrt{6}+\sqrt{7}", False),
        ("2^{10}", "1024", True),
        ("N = 21", "21", True),
        ("8+1=9", "9", True),
        ("f(x) = -x^2 + 1", "1 - x^2", True),
        ("(p, q) = (-3, 3)", "(-3, 3)", True),
        ("(-3, 3)", "(3, -3)", False),
        ("0, 2", "2, 0", True),
        (r"\{1, 2\}", r"\{2, 1\}", True),
        ("0, 2", "2", False),
        ("[2.0, 1.32]", "(2, 1.32)", True),
        ("(3,4]", "(3,4]", True),
        ("(3,4]", "[3,4)", False),
        (r"n \geq 3", r"n \ge 3", True),
        (r"n \geq 3", r"n \geq 4", False),
        (r"\begin{pmatrix} 1/2 \\ 1/2 \end{pmatrix}", r"\begin{pmatrix} \frac{1}{2} \\ 0.5 \end{pmatrix}", True),
        (r"30^\circ", "30", True),
        (r"\$187.12", "187.12", True),
        ("37 \\text{ square meters}", "37", True),
        ("37", r"37\text{ square meters}", True),
        ("15", "the number of rows", False),
    ],
)
def test_compares_by_the_kind_of_answer(reference: str, answer: str, same: bool):
    assert equal(reference, answer)[0] is same, equal(reference, answer)


def test_gives_each_verdict_with_its_reason(grader: Grader):
    assert grader.grade("12", r"So \boxed{12}").verdict == "correct"
    assert grader.grade("12", r"So \boxed{13}").verdict == "incorrect"
    assert grader.grade("12", "I do not know what this is about, sorry.").reason == "no answer found"
    prose = grader.grade("One shows by induction that every such group is abelian, whence the claim.", r"\boxed{12}")
    assert (prose.verdict, prose.extracted) == ("ungradable", "12")


def test_kills_a_comparison_out_of_time_and_grades_the_next():
    with Grader(timeout_seconds=2) as grader:
        assert grader.grade("2", r"\boxed{1+1}").verdict == "correct"
        first = grader._worker
        began = time.monotonic()
        hung = grader.grade("7", r"\boxed{9^{9^{9^{9}}}}")
        assert time.monotonic() - began < 10
        assert hung.verdict == "ungradable", hung
        assert first is not None and first.poll() is not None
        assert grader.grade("2", r"\boxed{1+1}").verdict == "correct"


def test_answers_line_by_line_in_order_and_never_imports_torch():
    lines = [{"reference": str(n), "prediction": rf"\boxed{{{n % 2}}}"} for n in range(4)]
    code = (
        "import sys; from dream_trainer.__main__ import main; status = main(['grade']); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=TRAINER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    verdicts = []
    for line in lines:
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
        verdicts.append(json.loads(process.stdout.readline())["verdict"])
    process.stdin.close()
    assert process.wait(20) == 0
    assert verdicts == ["correct", "correct", "incorrect", "incorrect"]


@pytest.mark.parametrize("line", ["not json", '{"reference": "1"}', '{"reference": 1, "prediction": "1"}'])
def test_refuses_a_line_that_is_no_pair(line: str):
    done = subprocess.run(
        [sys.executable, "-m", "dream_trainer", "grade"], cwd=TRAINER, input=line, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "line 1 of the pairs: found" in done.stderr and "expected a JSON object" in done.stderr


@pytest.mark.skipif(not S1K.exists(), reason=f"no s1K problems at {S1K}; set REVERIE_REFERENCE")
def test_three_quarters_of_s1k_are_gradable_and_each_is_right_against_itself(grader: Grader):
    solutions = [json.loads(line)["solution"] for line in S1K.read_text().splitlines()]
    grades = [grader.grade(solution, solution) for solution in solutions]
    gradable = [grade for grade in grades if grade.verdict != "ungradable"]
    assert 740 <= len(gradable) <= 800
    assert all(grade.verdict == "correct" for grade in gradable)
