"""The reference's numbers: the folder that REVERIE_REFERENCE names, else the one beside the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("REVERIE_REFERENCE") or REPOSITORY.parent / "shared" / "data" / "reference")

needs_reference = pytest.mark.skipif(
    not (REFERENCE / "config.json").is_file(),
    reason=f"NOT COMPARED WITH THE REFERENCE: no {REFERENCE}; set REVERIE_REFERENCE to its folder",
)

QWEN_TOKENIZER = REPOSITORY / "node_modules" / "@lenml" / "tokenizer-qwen2_5" / "models" / "tokenizer.json"


def reference_json(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


def reference_cases(name: str) -> list[Any]:
    """Cases for parametrize; none where the reference is absent (the test is then skipped by its mark)."""
    return reference_json(name)["cases"] if (REFERENCE / name).is_file() else [{"name": "absent"}]
