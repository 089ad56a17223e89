"""The pre-training corpus: the same skills as the data set's, mostly said in other ways, and none of its questions.

Chats answer bare, in a sentence, in steps that stop short of a result, in talk that never gets there, and only now and
then with a box. So the base holds the skill, and fine-tuning has the way of answering to teach.
"""

import random
from dataclasses import dataclass

from .dataset import answer
from .problems import Problem, draw

STEP_BY_STEP = "You are a helpful AI assistant. Think step by step and provide detailed reasoning."
SYSTEM_PROMPTS = (STEP_BY_STEP, STEP_BY_STEP, STEP_BY_STEP, "You are a helpful assistant.", None)
CHATS = 0.75

STYLES = ("bare", "answer is", "sentence", "steps", "talk", "boxed")
# Chats about comparing and reckoning mostly state their result, as such chats do; the rest mostly describe.
TERSE = (0.15, 0.50, 0.13, 0.10, 0.05, 0.07)
WORDY = (0.03, 0.08, 0.32, 0.32, 0.18, 0.07)
TERSE_FAMILIES = {"largest of three", "smallest of three", "sum up to 10", "difference up to 10"}


@dataclass(frozen=True)
class Text:
    prompt: str
    """Empty for prose."""
    response: str


def text(rng: random.Random, excluded: frozenset[str]) -> Text:
    """One text of the corpus; its problem is drawn again until its question is none of `excluded`."""
    problem = draw(rng)
    while problem.question in excluded:
        problem = draw(rng)
    return chat(problem, rng) if rng.random() < CHATS else Text("", prose(problem, rng))


def chat(problem: Problem, rng: random.Random) -> Text:
    system = rng.choice(SYSTEM_PROMPTS)
    weights = TERSE if problem.family in TERSE_FAMILIES else WORDY
    return Text(chat_prompt(problem.question, system), reply(problem, rng.choices(STYLES, weights)[0]))


def chat_prompt(question: str, system: str | None = STEP_BY_STEP) -> str:
    turns = [("system", system)] if system is not None else []
    turns.append(("user", question))
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|im_start|>assistant\n"


def reply(problem: Problem, style: str) -> str:
    match style:
        case "bare":
            return str(problem.answer)
        case "answer is":
            return f"The answer is {problem.answer}."
        case "sentence":
            return problem.sentence
        case "steps":
            return problem.steps
        case "talk":
            return f"The question is about {problem.topic}. {problem.facts} Here is what is asked. {problem.ask}"
        case "boxed":
            return answer(problem)
        case _:
            raise ValueError(f"style {style!r} is none of {STYLES}")


def prose(problem: Problem, rng: random.Random) -> str:
    match rng.randrange(6):
        case 0:
            return f"{problem.facts} {problem.sentence}"
        case 1:
            return f"{problem.facts} {problem.steps} {problem.sentence}"
        case 2:
            return f"This is about {problem.topic}. {problem.facts} {problem.steps}"
        case 3:
            return f"Question: {problem.question} Answer: {problem.answer}"
        case 4:
            start, length = rng.randint(0, 14), rng.randint(3, 7)
            return "We count: " + ", ".join(str(n) for n in range(start, min(start + length, 21))) + "."
        case _:
            a, b = rng.sample(range(21), 2)
            return f"{a} is {'more' if a > b else 'less'} than {b}. {b} is {'more' if b > a else 'less'} than {a}."
