"""Rows: from Parquet to the token ids of prompt and response, exactly as training sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet

from .failures import invalid
from .tokenizer import Message, Tokenizer

COLUMNS = ("id", "prompt", "response", "reference")


@dataclass(frozen=True)
class Row:
    id: str
    prompt_ids: numpy.ndarray
    """int64; the chat template's text with the generation prompt."""
    response_ids: numpy.ndarray
    """int64; the response and the end-of-text token."""

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)

    def truncated(self, max_tokens: int) -> Row:
        """The first `max_tokens` tokens, as the public trainer's right truncation has it (which drops the end)."""
        prompt_ids = self.prompt_ids[:max_tokens]
        return Row(self.id, prompt_ids, self.response_ids[: max_tokens - len(prompt_ids)])


def row_tokens(tokenizer: Tokenizer, prompt: str | Sequence[Message], response: str) -> tuple[list[int], list[int]]:
    """Ids of prompt and response. They are tokenised apart, the response together with its end-of-text token."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    return tokenizer.encode(text), tokenizer.encode(response + tokenizer.eos_token)


def read_records(file: Path) -> list[dict[str, Any]]:
    """All rows of a Parquet file with the columns id, prompt, response and reference; InvalidSpec if it isn't one."""
    if not file.is_file():
        raise invalid(f"data {file}", "no file", "a Parquet file", "check the path")
    try:
        parquet = pyarrow.parquet.ParquetFile(file)
        missing = [name for name in COLUMNS if name not in parquet.schema_arrow.names]
        if missing:
            raise invalid(
                f"data {file}",
                f"the columns {', '.join(parquet.schema_arrow.names)}",
                f"{', '.join(COLUMNS)} ({', '.join(missing)} missing)",
                "convert the data set first",
            )
        records = parquet.read(columns=list(COLUMNS)).to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise invalid(f"data {file}", f"a damaged file ({error})", "Parquet", "convert the data set again") from error
    if not records:
        raise invalid(f"data {file}", "0 rows", "at least one", "choose another split or another filter")
    return records


def reject_special_text(tokenizer: Tokenizer, record: Mapping[str, Any], file: Path) -> None:
    """Refuses a row whose own text holds a special token's: it would become that token, and nobody meant that."""
    prompt = record["prompt"]
    texts = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    for text in [*texts, record["response"]]:
        token = tokenizer.special_text(text)
        if token:
            raise invalid(
                f"data {file}, row {record['id']}",
                f"the literal special token {token}",
                "text without special tokens",
                "escape it or leave the row out",
                row=str(record["id"]),
            )


def load_rows(file: Path, tokenizer: Tokenizer, max_tokens: int, too_long: str) -> list[Row]:
    """Tokenised rows. A row above `max_tokens` is truncated (`too_long='truncate'`) or an error by name (`'error'`)."""
    rows = []
    for record in read_records(file):
        if not isinstance(record["response"], str) or not record["prompt"]:
            raise invalid(
                f"data {file}, row {record['id']}",
                "no prompt or no response",
                "both",
                "leave the row out",
                row=str(record["id"]),
            )
        reject_special_text(tokenizer, record, file)
        prompt_ids, response_ids = row_tokens(tokenizer, record["prompt"], record["response"])
        row = Row(str(record["id"]), numpy.array(prompt_ids, numpy.int64), numpy.array(response_ids, numpy.int64))
        if row.tokens > max_tokens and too_long == "error":
            raise invalid(
                f"data {file}, row {row.id}",
                f"{row.tokens} tokens",
                f"at most {max_tokens} (maxTokens)",
                "filter the data set, or raise maxTokens",
                row=row.id,
            )
        rows.append(row.truncated(max_tokens))
    return rows
