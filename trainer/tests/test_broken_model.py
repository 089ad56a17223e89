"""A model folder that is broken is refused by name, by a training as by `export`, before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dream_trainer.export import main

from .tiny import make_inputs, make_model, make_spec, of_type, train_here


def broken(folder: Path, case: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    file, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    tensors = load_file(file)
    if case == "another architecture":
        config["model_type"] = "llama"
    elif case == "a NaN":
        tensors["lm_head.weight"][3, 4] = float("nan")
    elif case == "a missing tensor":
        del tensors["model.norm.weight"]
    elif case == "an extra tensor":
        tensors["model.extra.weight"] = torch.zeros(1)
    elif case == "another shape":
        tensors["model.norm.weight"] = torch.zeros(31)
    elif case == "no mask token":
        config |= {"vocab_size": 300, "mask_token_id": 290}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, file)
    if case == "pickles only":
        file.rename(folder / "pytorch_model.bin")
    elif case == "a missing shard":
        index.write_text(json.dumps({"weight_map": {"a": file.name, "b": "model-2.safetensors"}}))
    elif case == "an index without shards":
        index.write_text("[]")
    elif case == "a file cut short":
        file.write_bytes(file.read_bytes()[:-40])


BAD = {
    "another architecture": "config.json, model_type: found 'llama'; expected 'Dream'",
    "a NaN": "tensor lm_head.weight: found NaN; expected numbers",
    "a missing tensor": "found no tensor model.norm.weight; expected 27 tensors",
    "an extra tensor": "tensor model.extra.weight: found a tensor; expected none of that name",
    "another shape": "tensor model.norm.weight: found shape [31]; expected [32] by config.json",
    "no mask token": "tokenizer, mask_token_id: found no token with id 290",
    "pickles only": "convert them where you trust them",
    "a missing shard": "found no model-2.safetensors; expected all 2 shards that model.safetensors.index.json names",
    "an index without shards": "model.safetensors.index.json: found no shards; expected JSON with a weight_map",
    "a file cut short": "model.safetensors: found a damaged file (",
}


@pytest.mark.parametrize("case", BAD)
def test_export_refuses_it(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path / "model")
    broken(model, case)
    assert main(["--model", str(model), "--to", str(tmp_path / "out")]) == 2
    assert BAD[case] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", BAD)
def test_a_training_refuses_it(tmp_path: Path, case: str) -> None:
    inputs = make_inputs(tmp_path / "inputs")
    broken(inputs / "base", case)
    events = train_here(make_spec(inputs), tmp_path / "run", expect=2)
    [incident] = of_type(events, "incident")
    assert incident["kind"] == "InvalidSpec" and BAD[case] in incident["message"]
    assert not of_type(events, "step")
