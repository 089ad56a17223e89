"""Generates block by block over cached keys and values: many times faster than `sample`, and not the same texts.

A block of places is revealed from left to right of the text; within it, only places whose token or whose prediction
is still open are computed again, against keys and values of all others as they were. Every `refresh_every_blocks`
blocks all places are computed anew; other blocks begin with the block before them, whose last tokens are new. The idea
is that of Fast-dLLM's dual cache. With a `threshold`, a step reveals every place that is at least so sure, and at least
one. Draws are keyed by block and turn, so that a row's text does not depend on its mates here either.

Shapes: B rows, S places, A places computed of each row, D hidden, H query heads, G key/value heads, K head dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .compiled import is_worth_compiling, set_up_compiler
from .failures import invalid
from .model import Block, DreamModel, rotary_angles, rotate
from .sampler import Canvas, Noise, SamplerSettings, Samples, Step, score


@torch.inference_mode()
def sample_cached(
    model: DreamModel,
    prompts_BS: Tensor,
    visible_BS: Tensor | None,
    settings: SamplerSettings,
    noise: Noise,
    on_step: Callable[[Step], None] | None = None,
) -> Samples:
    """As `sample`: masks are appended to each prompt and revealed, in about `steps` steps without a threshold."""
    if settings.algorithm == "origin":
        raise invalid(
            "sampler", "the cached mode with the algorithm origin", "one that has confidences", "choose entropy"
        )
    canvas = Canvas(model, prompts_BS, visible_BS, settings, noise, forbid_mask=True)
    cache = _Cache.of(model, canvas)
    canvas.score = cache.score
    first, places = prompts_BS.shape[1], canvas.x_BS.shape[1]
    length = settings.block_length
    starts = range(first, places, length)
    turns = length if settings.threshold is not None else -(-settings.steps // len(starts))
    place_S = torch.arange(places, device=canvas.x_BS.device)
    for number, start in enumerate(starts):
        end = min(start + length, places)
        # Masks within a prompt belong to the first block.
        within_S = (place_S < end) & (place_S >= (0 if number == 0 else start))
        chosen_BS = torch.zeros_like(canvas.x_BS, dtype=torch.bool)
        for turn in range(max(turns, 1)):
            # All that the device has to be waited for comes before the long work that it is given.
            masked_BS = canvas.masked() & within_S
            open_BS = _open(masked_BS, chosen_BS, canvas.start_B)
            left, opened = torch.stack((masked_BS.sum(dim=1), open_BS.sum(dim=1))).tolist()
            if not any(left):
                break
            masked, step = canvas.places(masked_BS), number * turns + turn
            if turn > 0:
                cache.compute(canvas.x_BS, _open_places(open_BS, max(opened), start))
            else:
                is_anew = number % settings.refresh_every_blocks == 0
                window_S = place_S if is_anew else place_S[max(0, start - length - 1) : end]
                cache.compute(canvas.x_BS, window_S.expand(len(prompts_BS), -1))
            confidence_BS = canvas.confidence_at(cache.hidden_BSD, masked, step)
            counts = [-(-masks // (turns - turn)) for masks in left]
            if settings.threshold is not None:
                counts = _sure(confidence_BS, settings.algorithm, settings.threshold, left, turns - turn)
            chosen_BS = canvas.most_confident(confidence_BS, counts, step)
            canvas.reveal(cache.hidden_BSD, chosen_BS, step)
            if on_step is not None:
                on_step(Step(step, canvas.x_BS, confidence_BS))
    return Samples(canvas.x_BS, canvas.reveal_steps_BS)


def _sure(confidence_BS: Tensor, algorithm: str, threshold: float, left: list[int], turns_left: int) -> list[int]:
    """How many places of each row are at least so sure; one at least, and all in the last turn. Entropy's confidence is
    a logarithm, whose power is a probability: that of a token among equally likely ones."""
    sure_BS = confidence_BS.exp() if algorithm == "entropy" else confidence_BS
    counts = ((sure_BS >= threshold) & (confidence_BS > -torch.inf)).sum(dim=1).tolist()
    return [masks if turns_left == 1 else min(masks, max(1, sure)) for masks, sure in zip(left, counts, strict=True)]


def _open(masked_BS: Tensor, revealed_BS: Tensor, start_B: Tensor) -> Tensor:
    """The places [B, S] to compute: those that predict a masked one, and those whose token was just revealed."""
    place_S = torch.arange(masked_BS.shape[1], device=masked_BS.device)
    is_first_BS = masked_BS & (place_S <= start_B[:, None])
    return revealed_BS | F.pad(masked_BS[:, 1:], (0, 1)) | is_first_BS


def _open_places(open_BS: Tensor, most: int, fallback: int) -> Tensor:
    """Places [B, A] that are open, A = `most`. A row of fewer repeats its first; one of none takes `fallback`, which
    the next block computes anyway."""
    number_B1 = open_BS.sum(dim=1, keepdim=True)
    order_BA = open_BS.int().sort(dim=1, descending=True, stable=True).indices[:, :most]
    rank_A = torch.arange(order_BA.shape[1], device=order_BA.device)
    return torch.where(rank_A < number_B1, order_BA, torch.where(number_B1 > 0, order_BA[:, :1], fallback))


class _Cache:
    """Keys and values of every layer, and the newest hidden states, of all places. On a GPU, work on few places a row
    is recorded once as a CUDA graph for each number of them: launching some thousand kernels takes longer than they
    run."""

    def __init__(self, model: DreamModel, canvas: Canvas) -> None:
        config, weight = model.config, model.model.embed_tokens.weight
        self._model = model
        rows, places = canvas.x_BS.shape
        shape = (2, rows, places, config.num_key_value_heads, config.head_dim)
        self._layers_2BSGK = [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in model.model.layers]
        self.hidden_BSD = torch.zeros(rows, places, config.hidden_size, dtype=weight.dtype, device=weight.device)
        self._cos_BSK, self._sin_BSK = self._angles(canvas)
        self._mask_B11S = None if canvas.visible_BS is None else canvas.visible_BS[:, None, None].clone()
        self._before, self._after, self.score = _functions(model)
        self._graphs: dict[int, _Graph] = {}
        self._pool: Any = torch.cuda.graph_pool_handle() if weight.is_cuda else None
        """What graphs hold while they run, one at a time."""

    @staticmethod
    def of(model: DreamModel, canvas: Canvas) -> _Cache:
        """The model's last one where the canvas has the same form, with its graphs; all that is in it is overwritten
        before it is read."""
        cache = model.generation_cache
        if isinstance(cache, _Cache) and cache._fits(canvas):
            cache._begin(canvas)
            return cache
        cache = model.generation_cache = None  # Before the next one takes as much memory.
        model.generation_cache = cache = _Cache(model, canvas)
        return cache

    def _fits(self, canvas: Canvas) -> bool:
        is_masked = canvas.visible_BS is not None
        return self.hidden_BSD.shape[:2] == canvas.x_BS.shape and is_masked == (self._mask_B11S is not None)

    def _begin(self, canvas: Canvas) -> None:
        """Into the same memory, which is what graphs read."""
        for own, angles in zip((self._cos_BSK, self._sin_BSK), self._angles(canvas), strict=True):
            own.copy_(angles)
        if self._mask_B11S is not None and canvas.visible_BS is not None:
            self._mask_B11S.copy_(canvas.visible_BS[:, None, None])

    def _angles(self, canvas: Canvas) -> tuple[Tensor, Tensor]:
        config, positions_BS, dtype = self._model.config, canvas.positions_BS, self.hidden_BSD.dtype
        if positions_BS is None:
            positions_BS = torch.arange(canvas.x_BS.shape[1], device=canvas.x_BS.device).expand(len(canvas.x_BS), -1)
        cos, sin = rotary_angles(positions_BS, config.head_dim, config.rope_theta, dtype)
        return cos.squeeze(1), sin.squeeze(1)

    def compute(self, x_BS: Tensor, places_BA: Tensor) -> None:
        """Hidden states, keys and values of these places, from the tokens that stand there now."""
        if not x_BS.is_cuda or places_BA.shape[1] > _LARGEST_GRAPH:
            self._compute(x_BS.gather(1, places_BA), places_BA)
            return
        more = -places_BA.shape[1] % _GRAPH_STEP
        places_BA = torch.cat((places_BA, places_BA[:, :1].expand(-1, more)), dim=1)
        graph = self._graphs.get(places_BA.shape[1])
        if graph is None:
            graph = _Graph(self._compute, self._pool, x_BS.gather(1, places_BA), places_BA)
            self._graphs[places_BA.shape[1]] = graph
        graph.run(x_BS.gather(1, places_BA), places_BA)

    def _compute(self, ids_BA: Tensor, places_BA: Tensor) -> None:
        row_B1 = torch.arange(len(places_BA), device=places_BA.device)[:, None]
        x_BAD = self._model.model.embed_tokens(ids_BA)
        cos, sin = (angle[row_B1, places_BA][:, None] for angle in (self._cos_BSK, self._sin_BSK))
        for block, layer_2BSGK in zip(self._model.model.layers, self._layers_2BSGK, strict=True):
            assert isinstance(block, Block)
            q_BHAK, k_BAGK, v_BAGK = self._before(block, x_BAD, cos, sin)
            _write(layer_2BSGK[0], row_B1, places_BA, k_BAGK)
            _write(layer_2BSGK[1], row_B1, places_BA, v_BAGK)
            keys, values = (part.transpose(1, 2) for part in layer_2BSGK)
            out_BHAK = block.self_attn.attend(q_BHAK, keys, values, self._mask_B11S)
            x_BAD = self._after(block, x_BAD, out_BHAK)
        _write(self.hidden_BSD, row_B1, places_BA, self._model.model.norm(x_BAD))


_LARGEST_GRAPH, _GRAPH_STEP = 128, 2
"""Places of a row. Numbers between the steps are filled up: fewer graphs, for some more work."""


class _Graph:
    """Work recorded with its inputs' memory. Recording runs nothing, but kernels are loaded by a run before it."""

    def __init__(self, work: Callable[..., None], pool: Any, *inputs: Tensor) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        work(*self._inputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            work(*self._inputs)

    def run(self, *inputs: Tensor) -> None:
        for own, tensor in zip(self._inputs, inputs, strict=True):
            own.copy_(tensor)
        self._graph.replay()


def _write(into: Tensor, row_B1: Tensor, places_BA: Tensor, values: Tensor) -> None:
    """A place that stands twice has the same value twice, so that torch's slow ordered way is not needed."""
    is_ordered = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    into[row_B1, places_BA] = values
    torch.use_deterministic_algorithms(is_ordered)


def _before(block: Block, x_BAD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B, H, A, K], and keys and values [B, A, G, K]."""
    attention, h_BAD = block.self_attn, block.input_layernorm(x_BAD)
    heads = (*x_BAD.shape[:2], -1, attention.head_dim)
    q, k, v = (project(h_BAD).view(heads) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
    return rotate(q.transpose(1, 2), cos, sin), rotate(k.transpose(1, 2), cos, sin).transpose(1, 2), v


def _after(block: Block, x_BAD: Tensor, out_BHAK: Tensor) -> Tensor:
    return block.feed(x_BAD + block.self_attn.o_proj(out_BHAK.transpose(1, 2).flatten(2)))


def _functions(model: DreamModel) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Tensor]]:
    """`_before`, `_after` and `score`, compiled for any number of places where that is worth it. The shapes met first
    are always the same: what the compiler writes may depend on them, and no text should on what came before it."""
    weight = model.model.embed_tokens.weight
    if not is_worth_compiling(model, weight.device):
        return _before, _after, score
    set_up_compiler()
    block, config = model.model.layers[0], model.config
    assert isinstance(block, Block)
    before, after = torch.compile(_before, dynamic=True), torch.compile(_after, dynamic=True)
    x_BAD = torch.zeros(3, 5, config.hidden_size, dtype=weight.dtype, device=weight.device)
    angles = torch.zeros(3, 1, 5, config.head_dim, dtype=weight.dtype, device=weight.device)
    q_BHAK, _, _ = before(block, x_BAD, angles, angles)
    after(block, x_BAD, q_BHAK)
    compiled = torch.compile(score)

    def compiled_score(logits_NV: Tensor, *how: Any) -> Tensor:
        torch._dynamo.maybe_mark_dynamic(logits_NV, 0)
        return compiled(logits_NV, *how)

    return before, after, compiled_score
