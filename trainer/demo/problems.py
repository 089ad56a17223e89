"""Families of small problems: facts, a question, its answer, and the ways in which one can speak of it.

Every answer is a number from 0 to 20. The skills (look-up, copying, position, comparison, sums up to 10) are ones that
a model of under a million parameters can hold; carrying is not.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

NAMES = ("Mia", "Tom", "Ann", "Ben", "Eva", "Leo", "Zoe", "Max", "Ida", "Sam", "Amy", "Jon")
THINGS = ("marbles", "apples", "cards", "coins", "shells", "books", "beads", "pens")
COLOURS = ("red", "blue", "green", "black", "white", "yellow")
GOODS = ("pen", "book", "cup", "ball", "lamp", "hat", "bag", "key")
ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Problem:
    family: str
    facts: str
    ask: str
    answer: int
    steps: str
    """The brief way to the answer, which it states in running text."""
    sentence: str
    """The answer as a sentence of its own."""
    topic: str
    """What the facts are about, for prose that never reaches an answer."""

    @property
    def question(self) -> str:
        return f"{self.facts} {self.ask}"


def table(rng: random.Random) -> Problem:
    names = rng.sample(NAMES, 2)
    colours = rng.sample(COLOURS, 2)
    thing = rng.choice(THINGS)
    counts = [rng.sample(range(1, 21), 2) for _ in names]
    row, column = rng.randrange(2), rng.randrange(2)

    def owns(i: int) -> str:
        return f"{names[i]} has {counts[i][0]} {colours[0]} and {counts[i][1]} {colours[1]} {thing}."

    return Problem(
        family="table look-up",
        facts=f"{owns(0)} {owns(1)}",
        ask=f"How many {colours[column]} {thing} does {names[row]} have?",
        answer=counts[row][column],
        steps=f"{owns(row)} We need {colours[column]}.",
        sentence=f"{names[row]} has {counts[row][column]} {colours[column]} {thing}.",
        topic=f"{names[0]} and {names[1]} and their {thing}",
    )


def price(rng: random.Random) -> Problem:
    goods = rng.sample(GOODS, 3)
    prices = rng.sample(range(1, 21), 3)
    i = rng.randrange(3)
    a, b, c = (f"{good} costs {cost}" for good, cost in zip(goods, prices, strict=True))
    return Problem(
        family="price look-up",
        facts=f"The {a}, the {b} and the {c}.",
        ask=f"How much is the {goods[i]}?",
        answer=prices[i],
        steps=f"Look for the {goods[i]}. The {goods[i]} costs {prices[i]}.",
        sentence=f"You pay {prices[i]} for the {goods[i]}.",
        topic=f"what the {goods[0]}, the {goods[1]} and the {goods[2]} cost",
    )


def position(rng: random.Random) -> Problem:
    items = rng.sample(range(1, 21), 4)
    i = rng.randrange(4)
    walk = ", ".join(f"{ORDINALS[j]} {items[j]}" for j in range(i + 1))
    return Problem(
        family="position in a list",
        facts=f"Here is a list: {listed(items)}.",
        ask=f"Which number is {ORDINALS[i]}?",
        answer=items[i],
        steps=f"We count: {walk}.",
        sentence=f"The {ORDINALS[i]} number is {items[i]}.",
        topic="the list and the places in it",
    )


def neighbour(rng: random.Random) -> Problem:
    items = rng.sample(range(1, 21), 5)
    i = rng.randrange(4)
    return Problem(
        family="next in a list",
        facts=f"Here is a list: {listed(items)}.",
        ask=f"Which number comes after {items[i]}?",
        answer=items[i + 1],
        steps=f"We find {items[i]}. After {items[i]} comes {items[i + 1]}.",
        sentence=f"The next number is {items[i + 1]}.",
        topic="the list and what follows what",
    )


def extreme(rng: random.Random) -> Problem:
    a, b, c = items = rng.sample(range(1, 21), 3)
    pick, word, relation = rng.choice([(max, "largest", "more"), (min, "smallest", "less")])
    best = pick(a, b)
    other = b if best == a else a
    final = pick(best, c)
    rest = c if final == best else best
    return Problem(
        family=f"{word} of three",
        facts=f"We have {a}, {b} and {c}.",
        ask=f"Which number is the {word}?",
        answer=final,
        steps=f"{best} is {relation} than {other}. {final} is {relation} than {rest}.",
        sentence=f"The {word} number is {pick(items)}.",
        topic="three numbers and their order",
    )


def change(rng: random.Random) -> Problem:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    if rng.random() < 0.5:
        a = rng.randint(1, 9)
        b = rng.randint(1, 10 - a)
        facts, total, sign = f"{name} has {a} {thing} and gets {b} more.", a + b, "plus"
    else:
        a = rng.randint(2, 10)
        b = rng.randint(1, a - 1)
        facts, total, sign = f"{name} has {a} {thing} and gives {b} away.", a - b, "minus"
    return Problem(
        family="sum up to 10" if sign == "plus" else "difference up to 10",
        facts=facts,
        ask=f"How many {thing} does {name} have now?",
        answer=total,
        steps=f"We take {a} {sign} {b}. {a} {sign} {b} is {total}.",
        sentence=f"Now {name} has {total} {thing}.",
        topic=f"{name} and the {thing}",
    )


def listed(items: list[int]) -> str:
    return ", ".join(map(str, items))


FAMILIES: tuple[Callable[[random.Random], Problem], ...] = (table, price, position, neighbour, extreme, change)


def draw(rng: random.Random) -> Problem:
    return rng.choice(FAMILIES)(rng)
