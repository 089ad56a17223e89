"""Answers chat messages with a model folder: device and numerics, prompt to ids, ids to text up to the first end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .cached_sampler import sample_cached
from .config import DreamConfig
from .determinism import make_deterministic
from .model import DreamModel
from .sampler import SamplerSettings, Step, keyed_noise, pad_left, sample
from .tokenizer import Message, Tokenizer
from .weights import load_model

END_OF_TURN = "<|im_end|>"
HIDDEN = "░"
"""Stands for a token that is still masked."""


@dataclass(frozen=True)
class Answer:
    text: str
    """Up to the first end-of-text or end-of-turn token, without special tokens."""
    reveal_steps: list[int]
    """Of each token before that end, the step (from 0) that revealed it."""
    ended: bool


def choose_numerics(recipe: str, threads: int | None) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of `recipe`; makes texts reproducible."""
    make_deterministic(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_bf16 = recipe == "bf16" or (recipe == "auto" and device.type == "cuda")
    return device, torch.bfloat16 if is_bf16 else torch.float32


class Answerer:
    """The tokenizer's side is there at once, so that prompts can be checked; the weights are loaded by `load`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.config = DreamConfig.load(folder)
        self.tokenizer = Tokenizer.load(folder, self.config)
        self._ends = {self.config.eos_token_id, self.config.pad_token_id}
        end_of_turn = self.tokenizer.token_id(END_OF_TURN)
        if end_of_turn is not None:
            self._ends.add(end_of_turn)
        self._model: DreamModel | None = None

    def load(self, recipe: str, threads: int | None) -> None:
        device, dtype = choose_numerics(recipe, threads)
        self._model = load_model(self._folder, dtype, device).eval()

    def encode(self, messages: Sequence[Message]) -> list[int]:
        return self.tokenizer.encode(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True))

    def answer(
        self,
        prompts: Sequence[Sequence[int]],
        sample_ids: Sequence[str],
        settings: SamplerSettings,
        seed: int,
        on_step: Callable[[Step], None] | None = None,
    ) -> list[Answer]:
        """One batch. An answer depends on seed, sample id and prompt, in float32 not on the batch."""
        assert self._model is not None, "load() comes first"
        ids_BS, visible_BS = pad_left(prompts, self.config.pad_token_id)
        generate = sample_cached if settings.mode == "cached" else sample
        samples = generate(self._model, ids_BS, visible_BS, settings, keyed_noise(seed, sample_ids), on_step)
        new = slice(ids_BS.shape[1], None)
        rows = zip(samples.sequences_BS[:, new].tolist(), samples.reveal_steps_BS[:, new].tolist(), strict=True)
        return [self._cut(ids, steps) for ids, steps in rows]

    def partial_text(self, new_ids: Sequence[int]) -> str:
        """The text so far, masked tokens as `░`, up to an end token before which nothing is masked."""
        pieces: list[str] = []
        run: list[int] = []
        for id in new_ids:
            if id in self._ends and HIDDEN not in pieces:
                break
            if id == self.config.mask_token_id:
                pieces += [self.tokenizer.decode(run), HIDDEN]
                run = []
            else:
                run.append(id)
        return "".join([*pieces, self.tokenizer.decode(run)])

    def _cut(self, ids: list[int], steps: list[int]) -> Answer:
        end = next((place for place, id in enumerate(ids) if id in self._ends), len(ids))
        return Answer(self.tokenizer.decode(ids[:end]), steps[:end], ended=end < len(ids))
