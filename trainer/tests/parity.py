"""How far the trainer is from the reference's numbers, on a GPU where there is one, as lines of JSON:
`python -m tests.parity FOLDER [--compiled]`, in trainer/. FOLDER holds the reference.

Errors are relative, in L2: of each place's vector for logits and hidden states, of each tensor for gradients. Needs no
pytest.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import load_file
from torch import Tensor

from dream_trainer.batches import Batch
from dream_trainer.compiled import compile_blocks
from dream_trainer.determinism import make_deterministic
from dream_trainer.gradients import accumulate_gradients, clear_gradients
from dream_trainer.model import DreamModel, shift
from dream_trainer.objective import token_weights
from dream_trainer.sampler import SamplerSettings, Step, sample
from dream_trainer.weights import load_model

FILES = (
    "config.json", "model.safetensors", "cases.json", "logits.safetensors", "loss_cases.json", "loss.safetensors",
    "sampler_cases.json", "sampler.safetensors",
)  # fmt: skip
"""What is read of FOLDER."""

WEIGHTINGS = {
    "none": ("none", 0.1),
    "original": ("original", 0.1),
    "linear": ("linear", 0.1),
    "cart_p0.1": ("cart", 0.1),
    "cart_p0.3": ("cart", 0.3),
}
NUMERICS = ("float32", "autocast", "bfloat16")
"""As recipes have them: weights in float32, the same under autocast to bfloat16, weights in bfloat16."""

Errors = dict[str, float]


def inputs(case: dict[str, Any], device: str = "cpu") -> tuple[Tensor, Tensor | None, Tensor]:
    mask = torch.tensor(case["attention_mask"]).bool()
    ids, positions = torch.tensor(case["input_ids"]).to(device), torch.tensor(case["position_ids"]).to(device)
    return ids, None if mask.all() else mask.to(device), positions


def batch_of(case: dict[str, Any], key: str, mask_token_id: int) -> Batch:
    ids, masked = torch.tensor(case["input_ids"]), torch.tensor(case["masked"]).bool()
    attention = torch.tensor(case["attention_mask"]).bool()
    weighting, p = WEIGHTINGS[key]
    return Batch(
        rows=list(range(len(ids))),
        clean_ids_BS=ids,
        noised_ids_BS=ids.masked_fill(masked, mask_token_id),
        attention_BS=attention,
        positions_BS=torch.tensor(case["position_ids"]),
        masked_BS=masked,
        weights_BS=token_weights(masked, torch.tensor(case["t"]), weighting, p),
        masked_tokens=int(masked.sum()),
    )


def settings_of(case: dict[str, Any]) -> SamplerSettings:
    given = case["settings"]
    return SamplerSettings(
        algorithm=given["alg"],
        max_new_tokens=given["max_new_tokens"],
        steps=given["steps"],
        temperature=given["temperature"],
        top_p=given["top_p"],
        top_k=given["top_k"],
        algorithm_temperature=given["alg_temp"] or 0.0,
    )


def supplied_noise(case: dict[str, Any], stored: dict[str, Tensor], mask_id: int):
    """The uniform numbers of an `origin` case, which the reference drew for masked places only."""
    before = [torch.tensor(case["input_ids"])]
    before[0] = torch.nn.functional.pad(before[0], (0, case["settings"]["max_new_tokens"]), value=mask_id)
    before += list(stored[f"{case['name']}.history"])
    numbers = stored[f"{case['name']}.uniforms"].split(case["uniform_counts"])

    def noise(row: int, step: int, purpose: str, count: int) -> numpy.ndarray:
        assert purpose == "reveal"
        full = torch.ones(before[step].shape)
        full[before[step] == mask_id] = numbers[step]
        return full[row, -count:].double().numpy()

    return noise


def no_noise(row: int, step: int, purpose: str, count: int) -> numpy.ndarray:
    raise AssertionError("nothing is drawn at temperature 0")


def model_with(folder: Path, device: str, numerics: str, is_compiled: bool = False) -> DreamModel:
    model = load_model(folder, torch.bfloat16 if numerics == "bfloat16" else torch.float32, device)
    if is_compiled:
        compile_blocks(model, 1.0)
    return model


@torch.no_grad()
def logit_errors(model: DreamModel, folder: Path, numerics: str) -> Errors:
    """Of each case's logits, raw and shifted."""
    device, expected, errors = _device_of(model), load_file(folder / "logits.safetensors"), {}
    for case in _read(folder, "cases.json"):
        with torch.autocast(device, torch.bfloat16, enabled=numerics == "autocast"):
            raw = model(*inputs(case, device)).float().cpu()
        for kind, logits in (("raw", raw), ("shifted", shift(raw))):
            compared, name = torch.tensor(case[f"compare_{kind}"]).bool(), f"{case['name']}.logits_{kind}"
            errors[name] = _relative(logits[compared], expected[name][compared])
    return errors


@torch.no_grad()
def hidden_errors(model: DreamModel, folder: Path, numerics: str) -> Errors:
    """Of what enters each block, and of what leaves the final norm."""
    device, expected = _device_of(model), load_file(folder / "logits.safetensors")
    case = next(case for case in _read(folder, "cases.json") if case["name"] == "single")
    seen: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for block in model.model.layers]
    with torch.autocast(device, torch.bfloat16, enabled=numerics == "autocast"):
        seen.append(model.hidden(*inputs(case, device)))
    for hook in hooks:
        hook.remove()
    names = [f"single.hidden_{number}" for number in range(len(seen))]
    return {name: _relative(x.float().cpu(), expected[name]) for name, x in zip(names, seen, strict=True)}


def loss_errors(
    model: DreamModel, folder: Path, numerics: str, weightings: Iterable[str] = WEIGHTINGS
) -> dict[str, Errors]:
    """Of the loss, the gradients' norm, and the gradients, in each case for which the reference has a loss."""
    expected, listed = load_file(folder / "loss.safetensors"), _read(folder, "loss_cases.json", "gradient_parameters")
    errors: dict[str, Errors] = {"loss": {}, "norm": {}, "gradients": {}}
    for case, key in itertools.product(_read(folder, "loss_cases.json"), weightings):
        result, name = case["results"][key], f"{case['name']}.{key}"
        if result["loss"] is None:
            continue
        batch = batch_of(case, key, model.config.mask_token_id)
        clear_gradients(model)
        loss = accumulate_gradients(
            model, batch, [batch.rows], "global", micro_batches=1, autocast=numerics == "autocast"
        )
        grads = {name: p.grad.float().cpu() for name, p in model.named_parameters() if p.grad is not None}
        norm = torch.nn.utils.get_total_norm(list(grads.values())).item()
        errors["loss"][name] = abs(loss / result["loss"] - 1)
        errors["norm"][name] = abs(norm / result["grad_norm"] - 1)
        for parameter in listed:
            gradient = grads[parameter.removesuffix("[mask]")]
            if parameter.endswith("[mask]"):
                gradient = gradient[model.config.mask_token_id]
            reference = expected[f"{case['name']}.grad.{key}.{parameter}"]
            errors["gradients"][f"{name}.{parameter}"] = _relative(gradient.flatten(), reference.flatten())
    return errors


def other_texts(model: DreamModel, folder: Path) -> list[str]:
    """Names of the reference's runs of the sampler, all at temperature 0, that are not repeated token for token in
    every step. Left out is the quirk that ours departs from on purpose."""
    stored, mask_id, other = load_file(folder / "sampler.safetensors"), model.config.mask_token_id, []
    for case in _read(folder, "sampler_cases.json"):
        if case["name"] == "quirk.unequal_masks":
            continue
        steps: list[Step] = []
        samples = sample(
            model,
            torch.tensor(case["input_ids"]),
            case["attention_mask"] and torch.tensor(case["attention_mask"]),
            settings_of(case),
            supplied_noise(case, stored, mask_id) if case["settings"]["alg"] == "origin" else no_noise,
            steps.append,
            forbid_mask=False,
            eps=case["settings"]["eps"],
        )
        history = torch.stack([step.sequences_BS for step in steps]).cpu()
        is_same = torch.equal(history, stored[f"{case['name']}.history"].long())
        if not is_same or samples.sequences_BS.tolist() != case["sequences"]:
            other.append(case["name"])
    return other


def largest_errors(folder: Path, device: str, numerics: str, is_compiled: bool = False) -> dict[str, tuple[float, str]]:
    """The largest error of each kind, and where it is. Compiled, one weighting stands for all."""
    model = model_with(folder, device, numerics, is_compiled)
    kinds = {"logits": logit_errors(model, folder, numerics)}
    if not is_compiled:
        kinds["hidden"] = hidden_errors(model, folder, numerics)
    kinds |= loss_errors(model, folder, numerics, ["cart_p0.1"] if is_compiled else WEIGHTINGS)
    return {kind: max((error, name) for name, error in errors.items()) for kind, errors in kinds.items()}


def _device_of(model: DreamModel) -> str:
    return next(model.parameters()).device.type


def _relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max().item()


def _read(folder: Path, name: str, key: str = "cases") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))[key]


def main(folder: Path, compiled: bool) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    make_deterministic(None)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    for numerics in NUMERICS:
        began = time.monotonic()
        errors = largest_errors(folder, device, numerics, compiled)
        told = {
            "device": name,
            "torch": torch.__version__,
            "numerics": numerics,
            "compiled": compiled,
            "errors": errors,
        }
        print(json.dumps(told | {"seconds": round(time.monotonic() - began, 1)}), flush=True)
    if not compiled:
        print(json.dumps({"device": name, "otherTexts": other_texts(model_with(folder, device, "float32"), folder)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--compiled" in sys.argv[2:])
