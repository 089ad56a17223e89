"""The memory planner: what is known of Dream 7B, what was measured of it, and which recipe it names for which GPU."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dream_trainer.checkpoint import Checkpoint
from dream_trainer.config import DreamConfig
from dream_trainer.failures import TrainerFailure
from dream_trainer.first_step import first_step
from dream_trainer.fit import fit
from dream_trainer.lora import add_adapters
from dream_trainer.memory import (
    DREAM_7B,
    GIB,
    Request,
    Shape,
    bytes_by_kind,
    choose,
    fits,
    nearest_fit,
    needed_gib,
    tokens_per_second,
)
from dream_trainer.model import DreamModel
from dream_trainer.optimizer import build_optimizer
from dream_trainer.recipes import RECIPES
from dream_trainer.spec import LoraSpec, OptimizerSpec, TrainSpec

from .reference import REPOSITORY
from .tiny import make_model, make_spec

WALKTHROUGH = Request("auto", 4, 2048, True, 0.5, True)


def test_knows_dream_7bs_parameters_and_states() -> None:
    assert DREAM_7B.parameters == 7_615_616_512
    gigabytes = {
        name: sum(bytes_by_kind(DREAM_7B, dataclasses.replace(WALKTHROUGH, recipe=name))[kind] for kind in STATE) / 1e9
        for name in RECIPES
    }
    assert gigabytes["fp32"] == gigabytes["full-fp32"] == pytest.approx(121.8, abs=0.1)
    assert gigabytes["full-bf16-sr"] == pytest.approx(60.9, abs=0.1)
    assert gigabytes["full-bf16-sr-8bit"] == pytest.approx(45.7, abs=0.3)
    assert gigabytes["lora"] == pytest.approx(15.9, abs=0.1)


STATE = ("weights", "gradients", "moments")


@pytest.mark.parametrize("recipe", [name for name in RECIPES])
def test_the_state_is_what_the_trainer_holds(tmp_path: Path, recipe: str) -> None:
    config = DreamConfig.load(make_model(tmp_path / "base", hidden_size=256, intermediate_size=512))
    shape, how = Shape.of(config), RECIPES[recipe]
    with torch.device("meta"):
        model = DreamModel(config).to(getattr(torch, how.weights))
    if how.lora:
        add_adapters(model, LoraSpec())
    optimizer = build_optimizer(model, OptimizerSpec(), how, 0)
    planned = bytes_by_kind(shape, dataclasses.replace(WALKTHROUGH, recipe=recipe))
    assert planned["weights"] == sum(p.nbytes for p in model.parameters())
    assert planned["gradients"] == sum(p.nbytes for p in model.parameters() if p.requires_grad)
    moments = sum(tensor.nbytes for name, tensor in optimizer.tensors.items() if name != "updates")
    assert planned["moments"] == pytest.approx(moments, rel=1e-3), "the last block of a tensor may be smaller"


def peaks_measured() -> Iterator[tuple[str, int, float, int, float]]:
    """Recipe, micro-batch, budget, layers, GiB: of `bench train` with compiled blocks at a sequence of 2,048."""
    # On an H100, by a model of this shape with 6 bytes of state a parameter.
    for micro_batch, budget, gib in ((1, 1, 53.0), (5, 0.5, 68.5), (4, 0.5, 64.0), (4, 0.3, 57.5), (8, 0, 49.5)):
        yield "full-bf16-sr-8bit", micro_batch, budget, 28, gib
    for file in sorted((REPOSITORY / "test" / "bench" / "results").glob("*-train*.json")):
        told = json.loads(file.read_text())
        layers = int(re.findall(r"(\d+) layers", told["what"])[0])
        for row in told["rows"]:
            if named := re.fullmatch(r"(\S+), micro-batch (\d+), budget (\S+)", row["name"]):
                yield named[1], int(named[2]), float(named[3]), layers, row["peakGib"]


@pytest.mark.parametrize(("recipe", "micro_batch", "budget", "layers", "gib"), list(peaks_measured()))
def test_is_within_3_percent_of_peaks_measured(
    recipe: str, micro_batch: int, budget: float, layers: int, gib: float
) -> None:
    asked = Request(recipe, micro_batch, 2048, budget < 1, budget, True)
    shape = dataclasses.replace(DREAM_7B, layers=layers)
    assert bytes_by_kind(shape, asked)["total"] / GIB == pytest.approx(gib, rel=0.03)


@pytest.mark.parametrize(
    ("gib", "recipe"), [(24, "lora"), (40, "lora"), (80, "full-bf16-sr"), (141, "full-fp32"), (12, None)]
)
def test_auto_takes_the_most_exact_recipe_that_fits(gib: int, recipe: str | None) -> None:
    chosen = choose(DREAM_7B, WALKTHROUGH, "auto", gib * GIB)
    assert (chosen and chosen.recipe) == recipe


@pytest.mark.parametrize(
    ("gpus", "gib", "sharding", "recipe", "is_sharded"),
    [
        (2, 23.5, "auto", "lora", False),
        (2, 23.5, "on", "lora", True),
        (8, 23.5, "auto", "full-bf16-sr", True),
        (2, 39.4, "auto", "full-bf16-sr-8bit", True),
        (2, 39.4, "off", "lora", False),
        (8, 79.1, "auto", "full-bf16-sr", False),
        (8, 79.1, "on", "full-fp32", True),
        (1, 79.1, "on", "full-bf16-sr", False),
    ],
)
def test_auto_shards_what_fits_no_gpu_whole_before_it_falls_back_on_adapters(
    gpus: int, gib: float, sharding: str, recipe: str, is_sharded: bool
) -> None:
    """A recipe that each GPU holds whole comes first, since a training may go on with fewer of them."""
    chosen = choose(DREAM_7B, dataclasses.replace(WALKTHROUGH, gpus=gpus), sharding, gib * GIB)
    assert chosen and (chosen.recipe, chosen.is_sharded) == (recipe, is_sharded)


def test_shards_divide_the_state_and_gather_embeddings_head_and_two_blocks() -> None:
    asked = dataclasses.replace(WALKTHROUGH, recipe="full-bf16-sr-8bit", gpus=8)
    whole, shards = (
        bytes_by_kind(DREAM_7B, dataclasses.replace(asked, is_sharded=is_sharded)) for is_sharded in (False, True)
    )
    for kind in STATE:
        assert shards[kind] == pytest.approx(whole[kind] / 8, rel=1e-6)
    weights = 2 * (2 * DREAM_7B.embeddings + 2 * DREAM_7B.block_parameters)
    assert whole["gathered"] == 0 and weights < shards["gathered"] < 2 * weights
    assert shards["activations"] == whole["activations"]
    # A recipe asked for by name is sharded where it must be, and the remedy for one that is not says so.
    whole_only = dataclasses.replace(asked, recipe="full-fp32", micro_batch_size=1)
    near = nearest_fit(DREAM_7B, whole_only, 79.1 * GIB)
    assert near and near.recipe == "full-fp32" and near.is_sharded
    chosen = choose(DREAM_7B, whole_only, "auto", 79.1 * GIB)
    assert chosen == near


def test_names_the_nearest_change_that_fits_and_every_answer_fits() -> None:
    full = dataclasses.replace(WALKTHROUGH, recipe="full-fp32")
    near = nearest_fit(DREAM_7B, full, 80 * GIB)
    assert near and near.recipe == "full-bf16-sr" and near.max_tokens == 2048
    for gib in range(18, 160, 6):
        near = nearest_fit(DREAM_7B, full, gib * GIB)
        assert near is None or fits(DREAM_7B, near, gib * GIB)
    needed = needed_gib(DREAM_7B, full)
    assert fits(DREAM_7B, full, needed * GIB) and not fits(DREAM_7B, full, (needed - 1) * GIB)
    assert nearest_fit(DREAM_7B, full, needed * GIB) == full, "what fits is left alone"
    assert nearest_fit(DREAM_7B, full, 8 * GIB) is None


def test_the_command_answers_without_torch(tmp_path: Path) -> None:
    config = json.loads((make_model(tmp_path / "base") / "config.json").read_text())
    asked = {
        "config": config,
        "recipe": "auto",
        "loraRank": 16,
        "microBatchSize": 4,
        "globalBatchSize": 4,
        "maxTokens": 96,
        "activationCheckpointing": True,
        "activationBudget": 0.5,
        "compile": "auto",
        "sharding": "auto",
        "hosts": [{"gpus": 4, "memoryGib": 80, "gpu": None}, {"gpus": 1, "memoryGib": None, "gpu": None}],
    }
    code = "import sys; from dream_trainer.__main__ import main; status = main(['plan']); "
    code += "assert 'torch' not in sys.modules; sys.exit(status)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(asked),
        cwd=REPOSITORY / "trainer",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["hosts"]
    assert first["fits"] and first["request"] == {
        "recipe": "full-fp32",
        "microBatchSize": 1,
        "maxTokens": 96,
        "activationCheckpointing": True,
        "activationBudget": 0.5,
        "isCompiled": False,
        "isSharded": False,
    }
    assert second["fits"] is None and second["nearest"] is None
    assert first["firstStep"]["weightsBytes"] == 2 * json.loads(done.stdout)["parameters"]
    assert second["firstStep"] is None


def spec_of(folder: Path, **changes: object) -> TrainSpec:
    (folder / "spec.json").write_text(
        json.dumps(make_spec(folder, maxTokens=2048, activationBudget=0.5, microBatchSize=2, **changes))
    )
    return TrainSpec.load(folder / "spec.json")


def test_a_gpu_that_is_too_small_is_told_before_anything_loads_with_the_recipe_that_fits(tmp_path: Path) -> None:
    config = config_7b()
    for recipe, gib, remedy in (
        ("full-fp32", 79.1, "set train.recipe full-bf16-sr"),
        ("auto", 20, "set train.activationBudget 0"),
        ("lora", 8, "nothing fits"),
    ):
        spec = spec_of(tmp_path, recipe=recipe, activationCheckpointing=True)
        with pytest.raises(TrainerFailure, match="found a GPU of") as refused:
            fit(spec, config, None, int(gib * GIB))
        assert refused.value.kind == "OutOfMemory" and remedy in refused.value.message
    chosen = fit(spec_of(tmp_path, activationCheckpointing=True), config, None, int(79.1 * GIB))
    assert chosen.recipe.name == "full-bf16-sr"


def test_a_training_begun_keeps_its_recipe_on_another_host(tmp_path: Path) -> None:
    begun = Checkpoint(3, tmp_path, [], [], "full-bf16-sr-8bit")
    spec = spec_of(tmp_path, activationCheckpointing=True)
    assert fit(spec, config_7b(), begun, 200 * GIB).recipe.name == "full-bf16-sr-8bit"
    assert fit(spec, config_7b(), begun, None).recipe.name == "full-bf16-sr-8bit"
    assert fit(spec, config_7b(), None, 200 * GIB).recipe.name == "full-fp32"
    assert fit(spec, config_7b(), None, None).recipe.name == "fp32"


def config_7b() -> DreamConfig:
    fields = {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131_072,
        "mask_token_id": 151_666,
        "pad_token_id": 151_643,
        "eos_token_id": 151_643,
    }
    return DreamConfig.parse(fields)


def test_is_within_5_percent_of_what_this_trainer_took_on_an_h100() -> None:
    """`tests.measure_recipes memory`, without compiled blocks."""
    file = REPOSITORY / "test" / "bench" / "results" / "h100-recipes-memory.json"
    figures = json.loads(file.read_text())["memory"]
    assert len(figures) >= 6
    for figure in figures:
        kept = figure["keptShare"]
        asked = Request(figure["recipe"], figure["microBatchSize"], 2048, kept < 1, kept, False)
        assert bytes_by_kind(DREAM_7B, asked)["total"] / GIB == pytest.approx(figure["peakGib"], rel=0.05), figure


def test_a_training_is_sharded_as_asked_and_where_it_must_be(tmp_path: Path) -> None:
    config = config_7b()
    for sharding, ranks, gib, is_sharded in (
        ("auto", 2, 48, True),
        ("auto", 2, 160, False),
        ("on", 2, 160, True),
        ("on", 1, 160, False),
        ("auto", 2, None, False),
        ("on", 2, None, True),
    ):
        spec = spec_of(tmp_path, activationCheckpointing=True, sharding=sharding)
        chosen = fit(spec, config, None, gib and int(gib * GIB), ranks)
        assert chosen.is_sharded == is_sharded, (sharding, ranks, gib)
    spec = spec_of(tmp_path, activationCheckpointing=True, sharding="off", recipe="full-bf16-sr")
    with pytest.raises(TrainerFailure, match=r"set train\.sharding on"):
        fit(spec, config, None, 48 * GIB, 2)


def test_predicts_the_first_step_within_a_fifth_of_what_was_measured() -> None:
    """`tests.measure_start`: micro-batches of 4 × 2,048 in global batches of 16, all on the host."""
    figures = json.loads((REPOSITORY / "test" / "bench" / "results" / "h200-start.json").read_text())
    asked = Request("full-bf16-sr-8bit", 4, 2048, True, 0.75, True)
    found = first_step(DREAM_7B, asked, 16, tokens_per_second(DREAM_7B, asked, "NVIDIA H200"))
    for part in ("warm", "resumed"):
        assert found["startSeconds"] == pytest.approx(figures[part]["secondsToFirstStep"], rel=0.2)
    precompiled = found["firstAttemptSeconds"] - found["startSeconds"]
    assert precompiled == pytest.approx(figures["precompile"]["seconds"], rel=0.2), "longer than the download"
    assert found["checkpointBytes"] == pytest.approx(30.7e9, rel=0.01), "29,278 MiB in the measured training"
    adapters = dataclasses.replace(asked, recipe="lora")
    assert first_step(DREAM_7B, adapters, 16, None)["checkpointBytes"] < 1e9
    shared = dataclasses.replace(asked, gpus=8, is_sharded=True)
    assert first_step(DREAM_7B, shared, 16, None)["checkpointBytes"] == pytest.approx(30.7e9, rel=0.01)
    sharded = first_step(DREAM_7B, shared, 16, None)
    assert sharded["startSeconds"] < found["startSeconds"]
    # Nothing is compiled ahead of shards: behind the download of 15.2 GB, and without kernels.
    assert sharded["firstAttemptSeconds"] == pytest.approx(sharded["startSeconds"] + 12.2 + 75 - 11, abs=0.2)
