"""Reads and checks a model's `config.json`: the shape of the network and the ids of its special tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failures import invalid


@dataclass(frozen=True)
class DreamConfig:
    """Qwen2.5's shape with bidirectional attention. Field names are those of Hugging Face's `config.json`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool
    initializer_range: float
    mask_token_id: int
    pad_token_id: int
    eos_token_id: int
    torch_dtype: str
    """dtype that the weights are stored in, as `config.json` claims; the safetensors files are the truth."""

    @staticmethod
    def load(folder: Path) -> DreamConfig:
        """Reads `folder/config.json`; raises InvalidSpec naming the field, what it holds and what it should hold."""
        path = folder / "config.json"
        if not path.is_file():
            raise invalid(
                f"model folder {folder}", "no config.json", "a Hugging Face model folder", "check the path of the model"
            )
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise invalid(
                str(path), f"text that is not JSON ({error})", "a JSON object", "download it again"
            ) from error
        if not isinstance(fields, dict):
            raise invalid(str(path), type(fields).__name__, "a JSON object", "download it again")
        return DreamConfig.parse(fields, str(path))

    @staticmethod
    def parse(fields: dict[str, Any], where: str = "config.json") -> DreamConfig:
        read = _Reader(fields, where)
        hidden_size = read.positive("hidden_size")
        heads = read.positive("num_attention_heads")
        kv_heads = read.positive("num_key_value_heads", default=heads)
        vocab_size = read.positive("vocab_size")
        read.only("model_type", "Dream", default="Dream")
        read.only("hidden_act", "silu", default="silu")
        read.only("rope_scaling", None, default=None)
        read.only("use_sliding_window", False, default=False)
        read.only("attention_dropout", 0, default=0)
        if "head_dim" not in fields and hidden_size % heads:
            raise read.wrong("hidden_size", hidden_size, f"a multiple of num_attention_heads ({heads})")
        if heads % kv_heads:
            raise read.wrong("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads ({heads})")
        head_dim = read.positive("head_dim", default=hidden_size // heads)
        if head_dim % 2:
            raise read.wrong("head_dim", head_dim, "an even number, as rotary embeddings turn pairs")
        return DreamConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            intermediate_size=read.positive("intermediate_size"),
            num_hidden_layers=read.positive("num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            max_position_embeddings=read.positive("max_position_embeddings"),
            rms_norm_eps=read.number("rms_norm_eps", default=1e-6),
            rope_theta=read.number("rope_theta", default=10000.0),
            tie_word_embeddings=bool(fields.get("tie_word_embeddings", False)),
            initializer_range=read.number("initializer_range", default=0.02),
            mask_token_id=read.token("mask_token_id", vocab_size),
            pad_token_id=read.token("pad_token_id", vocab_size),
            eos_token_id=read.token("eos_token_id", vocab_size),
            torch_dtype=str(fields.get("torch_dtype") or fields.get("dtype") or "float32"),
        )


class _Reader:
    """Field access that fails by field name, value found and value expected."""

    def __init__(self, fields: dict[str, Any], where: str) -> None:
        self._fields = fields
        self._where = where

    def wrong(self, name: str, found: object, expected: str) -> Exception:
        return invalid(f"{self._where}, {name}", repr(found), expected, "use a Dream model, or mend its config.json")

    def _value(self, name: str, default: object) -> Any:
        if name in self._fields:
            return self._fields[name]
        if default is None:
            raise self.wrong(name, None, "a value")
        return default

    def positive(self, name: str, default: int | None = None) -> int:
        value = self._value(name, default)
        if type(value) is not int or value < 1:
            raise self.wrong(name, value, "a positive integer")
        return value

    def number(self, name: str, default: float) -> float:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self.wrong(name, value, "a number above 0")
        return float(value)

    def token(self, name: str, vocab_size: int) -> int:
        value = self._value(name, None)
        if type(value) is not int or not 0 <= value < vocab_size:
            raise self.wrong(name, value, f"a token id from 0 to {vocab_size - 1} (vocab_size - 1)")
        return value

    def only(self, name: str, expected: object, default: object) -> None:
        value = self._fields.get(name, default)
        if value != expected:
            raise self.wrong(name, value, f"{expected!r}, the only value that this trainer implements")
