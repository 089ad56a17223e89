"""Evaluation as a process: shards, resumption, SIGTERM, bad input; and the answer to one prompt."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from dream_trainer.config import DreamConfig
from dream_trainer.eval_spec import EvalSpec
from dream_trainer.events import Events
from dream_trainer.failures import TrainerFailure
from dream_trainer.generate import main
from dream_trainer.model import DreamModel, initialise
from dream_trainer.shards import write_shards

TRAINER = Path(__file__).parents[1]
SCHEMAS = TRAINER.parent / "contracts" / "schemas"
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A random byte-level model."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = {letter: id for id, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    fast = Tokenizer(BPE(vocabulary, []))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|mask|>"]
    fast.add_special_tokens([AddedToken(text, special=True) for text in special])
    fast.save(str(folder / "tokenizer.json"))
    fields = dict(
        vocab_size=264, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, mask_token_id=259, pad_token_id=256, eos_token_id=256,
        initializer_range=0.3, rms_norm_eps=1e-6, rope_theta=1e4, tie_word_embeddings=False, torch_dtype="float32",
        model_type="Dream", hidden_act="silu",
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(fields))
    model = DreamModel(DreamConfig.load(folder))
    initialise(model, torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.lm_head.weight[260:] -= 1  # ids behind the tokenizer's
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def write_data(file: Path, count: int, extra: list[dict] | None = None) -> Path:
    rows = [
        {
            "id": f"row-{n}",
            "prompt": [SYSTEM, {"role": "user", "content": "?" * (1 + n % 5)}],
            "response": "no",
            "reference": str(n),
        }
        for n in range(count)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*rows, *(extra or [])]), file)
    return file


def spec_of(model: Path, data: Path, **changes) -> dict:
    spec = {
        "version": 1,
        "model": str(model),
        "data": str(data),
        "maxSamples": None,
        "promptStyle": "as-trained",
        "qualitativePrompts": ["解释为什么2+2=4", "Hi"],
        "maxPromptTokens": None,
        "shardSize": 3,
        "sampler": {"maxNewTokens": 12, "steps": 8, "temperature": 0.7},
        "seed": 4,
        "recipe": "auto",
        "threads": None,
    }
    return spec | changes


def command(spec: dict, run_dir: Path) -> list[str]:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "spec.json").write_text(json.dumps(spec))
    return [
        sys.executable,
        "-m",
        "dream_trainer",
        "eval",
        "--spec",
        str(run_dir / "spec.json"),
        "--run-dir",
        str(run_dir),
    ]


def evaluate(spec: dict, run_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(spec, run_dir), cwd=TRAINER, capture_output=True, text=True)


def evaluate_here(spec: dict, run_dir: Path) -> None:
    """Within this process, which spares the import of torch."""
    command(spec, run_dir)
    write_shards(EvalSpec.load(run_dir / "spec.json"), run_dir, Events(run_dir, rank=0))


def events_of(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]


def shards_of(run_dir: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((run_dir / "shards").iterdir())}


def predictions_of(run_dir: Path) -> list[dict]:
    return [json.loads(line) for shard in shards_of(run_dir).values() for line in shard.split("\n")[:-1]]


def check(name: str, value: dict) -> None:
    jsonschema.validate(value, json.loads((SCHEMAS / name).read_text()))


@pytest.fixture(scope="session")
def undisturbed(model_folder, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    done = evaluate(spec_of(model_folder, write_data(run_dir / "data.parquet", 7)), run_dir)
    assert done.returncode == 0, done.stderr
    return run_dir


def test_the_exact_sampler_answers_the_first_rows_beside_the_cached_one(model_folder, undisturbed, tmp_path):
    spec = spec_of(model_folder, write_data(tmp_path / "data.parquet", 10), qualitativePrompts=[])
    spec["sampler"] |= {"mode": "cached", "blockLength": 4}
    evaluate_here(spec, tmp_path)
    predictions = predictions_of(tmp_path)
    assert [(p["kind"], p["index"]) for p in predictions[10:]] == [("exact", n) for n in range(8)]
    for prediction in predictions:
        check("trainer-prediction.json", prediction)
    # What an exact evaluation says of the same rows; the last shard of seven rows has other mates.
    exact = [p["prediction"] for p in predictions[10:16]]
    assert exact == [p["prediction"] for p in predictions_of(undisturbed)[:6]]
    assert exact != [p["prediction"] for p in predictions[:6]]


def test_writes_shards_by_row_number_then_the_qualitative_prompts(undisturbed):
    assert {name: text.count("\n") for name, text in shards_of(undisturbed).items()} == {
        "00000.jsonl": 3, "00001.jsonl": 3, "00002.jsonl": 1, "00003.jsonl": 2,
    }  # fmt: skip
    predictions = predictions_of(undisturbed)
    assert [(p["kind"], p["index"], p["id"]) for p in predictions[:7]] == [("sample", n, f"row-{n}") for n in range(7)]
    assert [(p["kind"], p["index"]) for p in predictions[7:]] == [("qualitative", 0), ("qualitative", 1)]
    assert predictions[8]["prompt"] == [SYSTEM, {"role": "user", "content": "Hi"}]
    for prediction in predictions:
        check("trainer-prediction.json", prediction)
        assert len(prediction["revealSteps"]) == prediction["newTokens"] <= 12
        assert prediction["ended"] == (prediction["newTokens"] < 12)
    assert len({p["prediction"] for p in predictions}) > 3


def test_tells_each_shard_and_the_end_in_events_of_the_contract(undisturbed):
    events = events_of(undisturbed)
    for event in events:
        check("trainer-event.json", event)
    kinds = [event.get("phase", event["type"]) for event in events]
    assert kinds == ["start", "load", "generate", "shard", "shard", "shard", "shard", "done"]
    assert [event["samplesDone"] for event in events if event["type"] == "shard"] == [3, 6, 7, 9]
    assert events[-1]["weightsSha256"] is None and events[-1]["path"].endswith("shards")


def test_keeps_whole_shards_and_makes_damaged_missing_or_foreign_ones_again_to_the_same_bytes(
    undisturbed, model_folder, tmp_path
):
    spec = json.loads((undisturbed / "spec.json").read_text())
    whole = shards_of(undisturbed)
    (tmp_path / "shards").mkdir()
    marked = whole["00000.jsonl"].replace('"reference": "0"', '"reference": "kept"')
    (tmp_path / "shards/00000.jsonl").write_text(marked)
    (tmp_path / "shards/00001.jsonl").write_text(whole["00001.jsonl"][:-30])
    (tmp_path / "shards/00002.jsonl").write_text(whole["00003.jsonl"])
    evaluate_here(spec, tmp_path)
    assert shards_of(tmp_path) == whole | {"00000.jsonl": marked}


def test_a_finished_run_answers_without_loading_the_model(undisturbed):
    spec = json.loads((undisturbed / "spec.json").read_text())
    before, count = shards_of(undisturbed), len(events_of(undisturbed))
    evaluate_here(spec, undisturbed)
    assert shards_of(undisturbed) == before
    again = events_of(undisturbed)[count:]
    (undisturbed / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events_of(undisturbed)[:count]))
    assert "load" not in [event.get("phase") for event in again] and again[-1]["type"] == "done"


def test_gives_up_the_shard_under_way_on_sigterm_and_goes_on_to_the_same_texts(model_folder, tmp_path):
    spec = spec_of(model_folder, write_data(tmp_path / "data.parquet", 15), qualitativePrompts=[])
    spec["sampler"] = {"maxNewTokens": 80, "steps": 80, "temperature": 0.2}
    run_dir = tmp_path / "killed"
    process = subprocess.Popen(command(spec, run_dir), cwd=TRAINER)
    deadline = time.monotonic() + 60
    while not (run_dir / "shards/00001.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 75
    left = [name for name in shards_of(run_dir) if name.endswith(".jsonl")]
    assert 2 <= len(left) < 5
    evaluate_here(spec, run_dir)
    evaluate_here(spec, tmp_path / "whole")
    assert predictions_of(run_dir) == predictions_of(tmp_path / "whole")


def test_dies_with_its_parent(model_folder, tmp_path):
    spec = spec_of(model_folder, write_data(tmp_path / "data.parquet", 300))
    spec["sampler"] = {"maxNewTokens": 100, "steps": 100}
    code = f"import subprocess; p = subprocess.Popen({command(spec, tmp_path)!r}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=TRAINER, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 60
    while not (tmp_path / "shards/00000.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    time.sleep(0.5)
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_asks_only_the_last_user_message_where_the_spec_says_so(model_folder, tmp_path):
    turns = [
        SYSTEM,
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    data = write_data(tmp_path / "d.parquet", 0, [{"id": "x", "prompt": turns, "response": "r", "reference": "q"}])
    for style, expected in (("as-trained", turns), ("last-user-message", turns[-1:])):
        run_dir = tmp_path / style
        evaluate_here(spec_of(model_folder, data, promptStyle=style), run_dir)
        predictions = predictions_of(run_dir)
        assert predictions[0]["prompt"] == expected
        assert predictions[1]["prompt"][:-1] == ([SYSTEM] if style == "as-trained" else [])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"shardSise": 3}, "the unknown field shardSise; expected a known field, the nearest is shardSize"),
        ({"shardSize": 0}, "spec, shardSize: found 0"),
        ({"sampler": {"algorithm": "greedy"}}, "spec, sampler.algorithm"),
        ({"maxPromptTokens": 42}, "row row-4: found a prompt of"),
        ({"sampler": {"maxNewTokens": 240}}, "row row-0: found a prompt of"),
        ({"data": "/nowhere.parquet"}, "data /nowhere.parquet: found no file"),
        ({"model": "/nowhere"}, "model folder /nowhere: found no config.json"),
        ({"qualitativePrompts": ["say <|mask|>"]}, "qualitativePrompts[0]: found the literal special token <|mask|>"),
    ],
)
def test_refuses_bad_input_by_name_before_generating(model_folder, tmp_path, changes, told):
    spec = spec_of(model_folder, write_data(tmp_path / "data.parquet", 5)) | changes
    with pytest.raises(TrainerFailure) as refused:
        evaluate_here(spec, tmp_path)
    assert refused.value.kind == "InvalidSpec" and told in refused.value.message
    assert not (tmp_path / "shards").exists()


def test_tells_bad_input_by_an_incident_and_exit_status_2(model_folder, tmp_path):
    done = evaluate(spec_of(model_folder, tmp_path / "none.parquet"), tmp_path)
    assert done.returncode == 2
    incident = events_of(tmp_path)[-1]
    check("trainer-event.json", incident)
    assert (incident["type"], incident["kind"]) == ("incident", "InvalidSpec")
    assert done.stderr == incident["message"] + "\n"
    assert "none.parquet: found no file" in incident["message"]


def test_streams_one_answer_as_it_is_revealed(model_folder, capsys):
    options = ["--model", str(model_folder), "--max-new-tokens", "8", "--steps", "4", "--system", "Be brief."]

    def generate(*more: str) -> str:
        assert main([*options, *more, "Hi"]) == 0
        return capsys.readouterr().out

    streamed = [json.loads(line) for line in generate("--stream").split("\n")[:-1]]
    assert [(line["step"], line["of"]) for line in streamed[:-1]] == [(step, 4) for step in range(1, 5)]
    hidden = [line["text"].count("░") for line in streamed[:-1]]
    assert hidden == sorted(hidden, reverse=True) and hidden[0] > 0 and hidden[-1] == 0
    assert streamed[-1]["done"] is True and streamed[-1]["text"] == streamed[-2]["text"]
    assert generate() == streamed[-1]["text"] + "\n"
    assert json.loads(generate("--json")) == streamed[-1]


def test_generate_refuses_what_does_not_fit_the_context(model_folder, capsys):
    assert main(["--model", str(model_folder), "--max-new-tokens", "256", "Hi"]) == 2
    assert "expected at most 256 together" in capsys.readouterr().err
