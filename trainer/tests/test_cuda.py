"""On a GPU: saves that cost only the copy, and training that is killed and resumed to the bit in either recipe."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dream_trainer import cached_sampler
from dream_trainer.determinism import make_deterministic
from dream_trainer.recipes import BY_PREFERENCE
from dream_trainer.sampler import SamplerSettings, keyed_noise, pad_left
from dream_trainer.weights import load_model

from .reference import REPOSITORY
from .tiny import killed, make_inputs, make_model, make_spec, newest, of_type, resume, seen, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TRIED ON A GPU: no CUDA device"),
]


def test_a_save_stops_training_only_for_the_copy_into_pinned_memory(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "trainer")}
    command = [sys.executable, "-m", "tests.measure_saves", str(tmp_path), "--megabytes", "2000"]
    told = subprocess.run(command, env=environment, cwd=REPOSITORY / "trainer", capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    print(told.stdout)
    figures = json.loads(told.stdout)
    assert figures["equal"]
    assert figures["hostMemory"] <= 2.1, "times the state, during two saves"
    assert max(figures["stallSeconds"]) <= 0.4, "pageable memory takes 1.7 s for these 2 GB, pinned memory 0.04 s"


@pytest.mark.parametrize("recipe", ["fp32", "full-fp32"])
def test_killed_again_and_again_gives_the_same_weights_to_the_bit(tmp_path: Path, recipe: str) -> None:
    spec, rng = make_spec(make_inputs(tmp_path / "inputs"), epochs=20, recipe=recipe), random.Random(recipe)
    undisturbed = train(spec, tmp_path / "undisturbed")
    assert of_type(undisturbed, "plan")[0]["device"] == torch.cuda.get_device_name()
    for number, phase in enumerate(("train", "save", "validation")):
        attempt = tmp_path / f"attempt-{number}"
        killed(spec, attempt, 1, seen(rng.randint(4, 7), type="phase", phase=phase), rng.uniform(0, 0.01))
        spec = resume(spec, newest(attempt))
    last = train(spec, tmp_path / "last")
    assert of_type(last, "plan")[0]["fromStep"] > 0
    assert last[-1]["weightsSha256"] == undisturbed[-1]["weightsSha256"]


@pytest.mark.parametrize("recipe", BY_PREFERENCE)
def test_killed_with_compiled_blocks_gives_the_same_weights_to_the_bit(tmp_path: Path, recipe: str) -> None:
    """At widths that GPUs multiply by tensor cores; kernels from one file, as attempts on several hosts have them."""
    inputs = make_inputs(tmp_path / "inputs", hidden_size=256, intermediate_size=512)
    spec = make_spec(
        inputs, recipe=recipe, compile="on", activationCheckpointing=True, activationBudget=0.75, epochs=8,
        optimizer={"learningRate": 1e-4},
    )  # fmt: skip
    kernels = tmp_path / "kernels"
    undisturbed = train(spec, tmp_path / "undisturbed", kernels=kernels)
    killed(spec, tmp_path / "killed", 1, seen(3, type="checkpoint"), 0.005, kernels)
    last = train(resume(spec, newest(tmp_path / "killed")), tmp_path / "last", kernels=kernels)
    assert of_type(last, "plan")[0]["fromStep"] > 0
    assert last[-1]["weightsSha256"] == undisturbed[-1]["weightsSha256"]


@pytest.mark.parametrize("visible", [True, False], ids=["padded", "even"])
def test_recorded_graphs_give_the_texts_of_kernels_launched_one_by_one(tmp_path: Path, monkeypatch, visible) -> None:
    make_deterministic(None)
    model = load_model(make_model(tmp_path / "model"), torch.float32, "cuda").eval()
    settings = SamplerSettings(max_new_tokens=48, steps=24, mode="cached", block_length=16, refresh_every_blocks=2)
    texts = []
    for largest in (0, cached_sampler._LARGEST_GRAPH):
        monkeypatch.setattr(cached_sampler, "_LARGEST_GRAPH", largest)
        for batch in range(2):  # The second finds the graphs of the first.
            prompts_BS, visible_BS = pad_left([[5 + batch, 6, 7, 8], [9, 10] if visible else [9, 10, 11, 12]], 95)
            samples = cached_sampler.sample_cached(model, prompts_BS, visible_BS, settings, keyed_noise(batch, "ab"))
            texts.append(samples.sequences_BS.tolist())
    assert texts[:2] == texts[2:]
    cache = model.generation_cache
    assert isinstance(cache, cached_sampler._Cache) and cache._graphs
