"""The demo's embedded inputs: what the recipe in `demo/` promises of them."""

import gzip
import json
import random
from pathlib import Path

from demo.corpus import chat_prompt, text
from demo.dataset import OVER_LONG_ROWS, questions_and_rows, training_rows
from dream_trainer.answers import predicted_answer
from dream_trainer.config import DreamConfig
from dream_trainer.tokenizer import Tokenizer

EMBEDDED = Path(__file__).resolve().parents[2] / "infra" / "demo"
BASE, DATA = EMBEDDED / "base", EMBEDDED / "data" / "s1k-style.jsonl.gz"
SEED = 1


def embedded_rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).decode().splitlines()]


def test_the_embedded_rows_are_what_the_recipe_writes() -> None:
    assert embedded_rows() == questions_and_rows(SEED)[1]


def test_every_question_stands_once_and_every_answer_states_the_solution() -> None:
    rows = embedded_rows()
    assert len({row["question"] for row in rows}) == len(rows) == 1000
    assert all(predicted_answer(row["deepseek_attempt"]) == row["solution"] for row in rows)


def test_the_corpus_holds_no_question_of_the_data_set() -> None:
    questions, _ = questions_and_rows(SEED)
    rng = random.Random(7)
    # Questions on sums are few, so that thousands of texts would meet one were they not excluded.
    texts = [drawn.prompt + drawn.response for drawn in (text(rng, questions) for _ in range(20_000))]
    assert not [question for question in questions if any(question in drawn for drawn in texts)]


def test_only_the_planted_rows_are_over_long_and_all_of_them_are_training_rows() -> None:
    tokenizer = Tokenizer.load(BASE, DreamConfig.load(BASE))
    lengths = [
        len(tokenizer.encode(chat_prompt(row["question"]))) + len(tokenizer.encode(row["deepseek_attempt"])) + 1
        for row in embedded_rows()
    ]
    over_long = {i for i, length in enumerate(lengths) if length > 96}
    assert len(over_long) == OVER_LONG_ROWS and over_long <= set(training_rows())


def test_numbers_are_single_tokens_with_and_without_a_space() -> None:
    tokenizer = Tokenizer.load(BASE, DreamConfig.load(BASE))
    assert all(len(tokenizer.encode(f"{space}{n}")) == 1 for space in ("", " ") for n in range(21))


def test_the_chat_template_writes_the_prompts_that_the_base_was_trained_on() -> None:
    tokenizer = Tokenizer.load(BASE, DreamConfig.load(BASE))
    system = "You are a helpful AI assistant. Think step by step and provide detailed reasoning."
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "Which?"}]
    assert tokenizer.apply_chat_template(messages) == chat_prompt("Which?", system)


def test_the_base_folder_stays_within_four_megabytes() -> None:
    assert sum(file.stat().st_size for file in BASE.iterdir()) <= 4_000_000
