"""A stand-in for nvidia-smi on PATH: the real options, field names and CSV format, with values that a test sets.

It answers `--query-gpu=FIELDS`, `--query-remapped-rows=FIELDS` and `--query-compute-apps=FIELDS` with
`--format=csv,noheader,nounits` and `-i UUID`, and refuses an unknown field as the real program does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

UUID = "GPU-63feeb45-94c6-b9cb-78ea-98e9b7a5be6b"
HEALTHY = {
    "--query-gpu": [
        {
            "index": "0",
            "name": "NVIDIA H100 80GB HBM3",
            "pci.bus_id": "00000000:1B:00.0",
            "memory.used": "4",
            "memory.total": "81559",
            "ecc.errors.uncorrected.volatile.total": "0",
            "retired_pages.pending": "[N/A]",
        }
    ],
    "--query-remapped-rows": [{"remapped_rows.pending": "No", "remapped_rows.failure": "No"}],
    "--query-compute-apps": [],
}

_PROGRAM = """#!{python} -IS
import json, pathlib, sys
answers = json.loads(pathlib.Path({state!r}).read_text())
options = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
assert options.pop("--format") == "csv,noheader,nounits", sys.argv
assert "-i" not in sys.argv or sys.argv[sys.argv.index("-i") + 1] == {uuid!r}, sys.argv
((query, fields),) = options.items()
known = answers["fields"][query]
for field in fields.split(","):
    if field not in known:
        print(f'Field "{{field}}" is not a valid field to query.')
        sys.exit(2)
for line in answers["lines"][query]:
    print(", ".join(line[field] for field in fields.split(",")))
"""


class NvidiaSmi:
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._state = folder / "nvidia-smi.json"
        program = folder / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(_PROGRAM.format(python=sys.executable, state=str(self._state), uuid=UUID))
        program.chmod(0o755)
        patch.setenv("PATH", str(program.parent))
        self.answer()

    def answer(self, apps: list[dict[str, str]] | None = None, **gpu: str) -> None:
        """From now on; a field's dots are written as double underscores."""
        changes = {name.replace("__", "."): value for name, value in gpu.items()}
        lines = {
            query: [line | {k: v for k, v in changes.items() if k in line} for line in told]
            for query, told in HEALTHY.items()
        }
        fields = {query: list(told[0]) for query, told in HEALTHY.items() if told}
        fields["--query-compute-apps"] = ["pid", "process_name", "used_memory"]
        draft = self._state.with_suffix(".draft")
        draft.write_text(json.dumps({"fields": fields, "lines": lines | {"--query-compute-apps": apps or []}}))
        draft.replace(self._state)
