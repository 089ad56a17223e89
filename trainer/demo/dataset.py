"""The demo's data set: 1,000 problems under s1K-1.1's column names, answered in brief steps with a boxed result."""

import json
import random
from collections.abc import Iterator

import numpy

from .problems import Problem, draw

ROWS = 1000
OVER_LONG_ROWS = 4
SPLIT_SEED = 42


def questions_and_rows(seed: int) -> tuple[frozenset[str], list[dict[str, str]]]:
    """The questions, which the pre-training corpus must not hold, and the rows in their order."""
    rng = random.Random(seed)
    problems: dict[str, Problem] = {}
    while len(problems) < ROWS:
        problem = draw(rng)
        problems.setdefault(problem.question, problem)
    over_long = set(training_rows()[:OVER_LONG_ROWS])
    rows = [row(problem, rng, long=i in over_long) for i, problem in enumerate(problems.values())]
    return frozenset(problems), rows


def training_rows() -> list[int]:
    """Row numbers of the 90 % that the walkthrough trains on: `Dataset.train_test_split(test_size=0.1, seed=42)`."""
    return numpy.random.default_rng(SPLIT_SEED).permutation(ROWS)[ROWS // 10 :].tolist()


def answer(problem: Problem) -> str:
    """The way of answering that fine-tuning teaches."""
    return f"{problem.steps} \\boxed{{{problem.answer}}}"


def row(problem: Problem, rng: random.Random, long: bool) -> dict[str, str]:
    guess = problem.answer if rng.random() < 0.9 else (problem.answer + rng.randint(1, 9)) % 21
    right = guess == problem.answer
    # A few answers wander through every number before they box one: the filter has to reject something, by name.
    wandering = "".join(f"It could be {n}, so we look at {n}. " for n in range(21)) if long else ""
    return {
        "solution": str(problem.answer),
        "question": problem.question,
        "cot_type": "math",
        "source_type": f"synthetic/{problem.family}",
        "metadata": json.dumps({"family": problem.family, "over_long": long}),
        "gemini_thinking_trajectory": f"The question is about {problem.topic}. {problem.steps}",
        "gemini_attempt": f"The answer is {guess}.",
        "deepseek_thinking_trajectory": " ".join(trace(problem)),
        "deepseek_attempt": wandering + answer(problem),
        "gemini_grade": "Yes" if right else "No",
        "gemini_grade_reason": f"The attempt says {guess}, the solution {problem.answer}.",
        "deepseek_grade": "Yes",
        "deepseek_grade_reason": f"The attempt says {problem.answer}, the solution {problem.answer}.",
    }


def trace(problem: Problem) -> Iterator[str]:
    yield f"The question is about {problem.topic}."
    yield f"Here is what we know. {problem.facts}"
    yield f"Here is what is asked. {problem.ask}"
    yield problem.steps
    yield f"We check it again. {problem.sentence}"
    yield f"So the answer is {problem.answer}."
