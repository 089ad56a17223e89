"""A config that is not Dream's is refused by field, what it holds and what it should hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dream_trainer.config import DreamConfig
from dream_trainer.failures import TrainerFailure

from .tiny import make_model

BAD = {
    "model_type": ("qwen2", "expected 'Dream', the only value that this trainer implements"),
    "hidden_act": ("gelu", "expected 'silu', the only value"),
    "rope_scaling": ({"type": "yarn"}, "expected None, the only value"),
    "use_sliding_window": (True, "expected False, the only value"),
    "attention_dropout": (0.1, "expected 0, the only value"),
    "hidden_size": (30, "expected a multiple of num_attention_heads (4)"),
    "num_hidden_layers": (0, "expected a positive integer"),
    "num_key_value_heads": (3, "expected a divisor of num_attention_heads (4)"),
    "head_dim": (7, "expected an even number"),
    "rms_norm_eps": (0, "expected a number above 0"),
    "rope_theta": ("1e6", "expected a number above 0"),
    "mask_token_id": (264, "expected a token id from 0 to 263 (vocab_size - 1)"),
    "pad_token_id": (None, "expected a token id"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("config") / "base")


@pytest.mark.parametrize("field", BAD)
def test_refuses_a_field_by_name_what_came_and_what_was_expected(folder: Path, field: str) -> None:
    value, expected = BAD[field]
    fields = json.loads((folder / "config.json").read_text()) | {field: value}
    with pytest.raises(TrainerFailure) as refused:
        DreamConfig.parse(fields, "base/config.json")
    assert refused.value.kind == "InvalidSpec"
    message = refused.value.message
    assert message.startswith(f"base/config.json, {field}: found {value!r}; {expected}")
    assert message.endswith("; use a Dream model, or mend its config.json")


@pytest.mark.parametrize("field", ["vocab_size", "max_position_embeddings", "mask_token_id"])
def test_refuses_a_config_without_a_field_that_it_must_have(folder: Path, field: str) -> None:
    fields = json.loads((folder / "config.json").read_text())
    del fields[field]
    with pytest.raises(TrainerFailure, match=f"{field}: found None; expected "):
        DreamConfig.parse(fields)
