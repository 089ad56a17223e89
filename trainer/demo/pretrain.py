"""Pre-trains a small Dream from random weights on the corpus: masked diffusion with the logit shift, full attention.

Shapes: B rows, S places, V vocabulary.
"""

import math
import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from dream_trainer.config import DreamConfig
from dream_trainer.model import DreamModel, initialise, shift

from .corpus import text

TEXTS_PER_SHARD = 10_000
WARMUP_STEPS = 200
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Pretraining:
    texts: int
    steps: int
    batch: int
    """Texts of one optimizer step."""
    places: int
    """Length of a row: a text, its end, and end-of-text tokens as padding; a longer text is cut."""
    learning_rate: float
    seed: int


def tokenise_corpus(
    plan: Pretraining, tokenizer: Tokenizer, excluded: frozenset[str], end: int, processes: int
) -> tuple[Tensor, Tensor]:
    """Ids [texts, S] as int16, and the length of each text's prompt [texts], 0 for prose."""
    shards = [
        (plan, tokenizer.to_str(), excluded, end, shard) for shard in range(math.ceil(plan.texts / TEXTS_PER_SHARD))
    ]
    if processes == 1:
        made = [_shard(*arguments) for arguments in shards]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            made = pool.starmap(_shard, shards)
    ids, prompts = (numpy.concatenate(parts)[: plan.texts] for parts in zip(*made, strict=True))
    return torch.from_numpy(ids), torch.from_numpy(prompts)


def _shard(
    plan: Pretraining, tokenizer_json: str, excluded: frozenset[str], end: int, shard: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    rng = random.Random(f"corpus {plan.seed} {shard}")
    texts = [text(rng, excluded) for _ in range(TEXTS_PER_SHARD)]
    tokenizer = Tokenizer.from_str(tokenizer_json)
    prompts = tokenizer.encode_batch([t.prompt for t in texts], add_special_tokens=False)
    responses = tokenizer.encode_batch([t.response for t in texts], add_special_tokens=False)
    ids = numpy.full((len(texts), plan.places), end, dtype=numpy.int16)
    for row, prompt, response in zip(ids, prompts, responses, strict=True):
        tokens = (prompt.ids + response.ids)[: plan.places]
        row[: len(tokens)] = tokens
    return ids, numpy.array([len(prompt.ids) for prompt in prompts], dtype=numpy.int16)


def noise(ids_BS: Tensor, prompts_B: Tensor, generator: torch.Generator) -> Tensor:
    """The places to mask [B, S]. Half of the chats keep their prompt clean, as it will be when they are asked.

    t is spread evenly over the batch, so that each step sees every amount of noise.
    """
    rows, places = ids_BS.shape
    device = ids_BS.device
    t_B = (torch.arange(rows, device=device) + torch.rand(rows, device=device, generator=generator)) / rows
    clean_B = torch.rand(rows, device=device, generator=generator) < 0.5
    may_mask_BS = (torch.arange(places, device=device) >= prompts_B[:, None]) | ~clean_B[:, None]
    return (torch.rand(rows, places, device=device, generator=generator) < t_B[:, None]) & may_mask_BS


def loss_of(model: Callable[[Tensor], Tensor], ids_BS: Tensor, masked_BS: Tensor, mask_token: int) -> Tensor:
    """Mean cross-entropy of the masked tokens, in nats."""
    logits_BSV = shift(model(ids_BS.masked_fill(masked_BS, mask_token)))
    ce_BS = F.cross_entropy(logits_BSV.flatten(0, 1).float(), ids_BS.flatten(), reduction="none").view_as(ids_BS)
    return (ce_BS * masked_BS).sum() / masked_BS.sum().clamp_min(1)


def learning_rate(step: int, plan: Pretraining) -> float:
    """Linear warm-up, then cosine to 0."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return plan.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / plan.steps))


def pretrain(
    config: DreamConfig,
    plan: Pretraining,
    corpus: tuple[Tensor, Tensor],
    device: str,
    save: Callable[[DreamModel, int], None],
    save_at: frozenset[int],
) -> None:
    """Calls `save` with the model after each step of `save_at`."""
    generator = torch.Generator(device).manual_seed(plan.seed)
    model = DreamModel(config)
    initialise(model, torch.Generator().manual_seed(plan.seed))
    model.to(device)
    ids, prompts = (tensor.to(device) for tensor in corpus)
    optimizer = torch.optim.AdamW(model.parameters(), betas=BETAS, weight_decay=WEIGHT_DECAY, fused=device == "cuda")
    compute = torch.compile(loss_of) if device == "cuda" else loss_of
    began = time.monotonic()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan)
        rows = torch.randint(len(ids), (plan.batch,), device=device, generator=generator)
        ids_BS = ids[rows].long()
        masked_BS = noise(ids_BS, prompts[rows], generator)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = compute(model, ids_BS, masked_BS, config.mask_token_id)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        if (step + 1) % 250 == 0 or step == 0:
            seconds = time.monotonic() - began
            print(f"step {step + 1}/{plan.steps} loss {loss.item():.4f} {seconds:.0f} s", flush=True)
        if step + 1 in save_at:
            save(model, step + 1)
