"""What training holds in the memory of each GPU, by kind, and which recipe fits. Needs no torch.

More GPUs divide a batch, and where they share the weights (`sharding`) the state too. `reverie plan` asks it through
`python -m dream_trainer plan`, the trainer before it loads anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from .config import DreamConfig
from .recipes import BY_PREFERENCE, RECIPES, Recipe

GIB = 2**30

RESERVED_BYTES = 2 * GIB
"""CUDA's context, libraries, and what the allocator cannot use."""

_BF16, _FP32 = 2, 4
_BLOCK = 256
"""Elements that share a scale where moments have 8 bits."""

_LOGITS_AT_ONCE, _BYTES_OF_A_LOGIT = 2**26, 14
"""Of one chunk of logits, as the trainer cuts them: as computed, in float32, its log-softmax, its gradient."""
_COMPILED_LOGITS_AT_ONCE, _BYTES_OF_A_COMPILED_LOGIT = 2**28, 4
"""The head of a compiled model keeps logits and their gradient in bf16 alone."""

COMPILED_FROM_PARAMETERS = 10**9


@dataclass(frozen=True)
class Shape:
    """What decides sizes in a model's config.json."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    is_tied: bool = False

    @staticmethod
    def of(config: DreamConfig) -> Shape:
        return Shape(
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.tie_word_embeddings,
        )

    @property
    def embeddings(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def linear_maps(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the seven linear maps of a block."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, *[(self.hidden, self.inner)] * 2, (self.inner, self.hidden)]

    @property
    def block_parameters(self) -> int:
        """Biases on queries, keys and values only, and two norms."""
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim
        return sum(inputs * outputs for inputs, outputs in self.linear_maps) + biases + 2 * self.hidden

    @property
    def parameters(self) -> int:
        return self.embeddings * (1 if self.is_tied else 2) + self.layers * self.block_parameters + self.hidden


DREAM_7B = Shape(152_064, 3584, 18_944, 28, 28, 4, 128)


@dataclass(frozen=True)
class Request:
    recipe: str
    """A recipe's name, or auto."""
    micro_batch_size: int
    max_tokens: int
    activation_checkpointing: bool
    activation_budget: float
    """Share of its activations that a compiled block keeps where activations are recomputed at all."""
    is_compiled: bool
    lora_rank: int = 16
    gpus: int = 1
    is_sharded: bool = False
    """Whether weights, gradients and moments are divided among the GPUs."""

    @property
    def kept_share(self) -> float:
        if not self.activation_checkpointing:
            return 1
        return self.activation_budget if self.is_compiled else 0


def bytes_by_kind(shape: Shape, asked: Request) -> dict[str, int]:
    """At the peak of a step, which is the end of a forward pass. `total` is what torch counts as allocated."""
    recipe = RECIPES[asked.recipe]
    tokens = asked.micro_batch_size * asked.max_tokens
    weight_bytes = _FP32 if recipe.weights == "float32" else _BF16
    adapters = shape.layers * sum(asked.lora_rank * sum(ends) for ends in shape.linear_maps) if recipe.lora else 0
    trained = adapters or shape.parameters
    gradient_bytes = _FP32 if recipe.lora else weight_bytes
    moment_bytes = {"float32": _FP32, "bfloat16": _BF16, "8-bit": 1 + _FP32 / _BLOCK}[recipe.moments]
    # The residual stream starts with embeddings, in the type of the weights.
    stream = shape.hidden * weight_bytes
    block = block_bytes(shape, recipe, asked.is_compiled)
    kept = asked.kept_share
    # A block that is recomputed comes back whole for its backward pass, one at a time.
    kept_bytes = min(kept * max(0, block - stream), _most_kept(shape, asked, block, stream))
    activations = tokens * (shape.layers * (stream + kept_bytes) + (1 - kept) * block)
    # Norms and biases, which are not divided, are some 0.01 %; adapters are small, and whole on each.
    shares = asked.gpus if asked.is_sharded else 1
    trained_shares = 1 if recipe.lora else shares
    kinds = {
        "weights": shape.parameters * weight_bytes / shares + adapters * _FP32,
        "gradients": trained * gradient_bytes / trained_shares,
        "moments": 2 * trained * moment_bytes / trained_shares,
        "gathered": _gathered(shape, recipe, weight_bytes) if shares > 1 else 0,
        # Embeddings are looked up, not multiplied.
        "castWeights": _BF16 * (shape.parameters - shape.embeddings) if recipe.autocast else 0,
        "activations": activations,
        "logits": _logits(shape, asked, tokens) + (0 if recipe.lora else shape.embeddings * weight_bytes),
    }
    whole = {kind: round(size) for kind, size in kinds.items()}
    return {**whole, "total": sum(whole.values())}


def _gathered(shape: Shape, recipe: Recipe, weight_bytes: int) -> int:
    """Embeddings, head and two blocks, one of them on its way; as much of gradients that are not yet summed, less that
    of the head, which stands beside the logits."""
    ends = shape.embeddings * (1 if shape.is_tied else 2)
    weights = ends + 2 * shape.block_parameters
    return weight_bytes * (weights + (0 if recipe.lora else weights - shape.embeddings))


def _logits(shape: Shape, asked: Request, tokens: int) -> int:
    """Beside them stands the gradient of the head that a micro-batch brings, before it is added."""
    if asked.is_compiled:
        return min(_COMPILED_LOGITS_AT_ONCE, tokens * shape.vocabulary) * _BYTES_OF_A_COMPILED_LOGIT
    return min(_LOGITS_AT_ONCE, tokens * shape.vocabulary) * _BYTES_OF_A_LOGIT


def block_bytes(shape: Shape, recipe: Recipe, is_compiled: bool) -> float:
    """What one block keeps of one token for its backward pass.

    Compiled: gate, up and their product, and some six tensors of the hidden size (inputs, norms, queries, attention's
    output). Not compiled: four inner ones, norms in float32, repeated keys and values."""
    if recipe.name == "fp32":
        return 44 * shape.hidden + 4 * _FP32 * shape.inner
    if is_compiled:
        return _BF16 * (3 * shape.inner + 6.2 * shape.hidden)
    # Norms that stand still keep no input.
    hidden_tensors = 18 if recipe.lora else 41 if recipe.autocast else 34
    return hidden_tensors * shape.hidden + 4 * _BF16 * shape.inner


def _most_kept(shape: Shape, asked: Request, block: float, stream: float) -> float:
    """Below a budget of 1 the compiler first recomputes all that is no product, which costs next to nothing: gate, up,
    queries, keys, values, attention's output and the stream between the halves are left."""
    if not asked.is_compiled or asked.kept_share == 1:
        return block - stream
    return _BF16 * (2 * shape.inner + 4.4 * shape.hidden) - stream


def fits(shape: Shape, asked: Request, memory_bytes: float) -> bool:
    return bytes_by_kind(shape, asked)["total"] + RESERVED_BYTES <= memory_bytes


def needed_gib(shape: Shape, asked: Request) -> int:
    """Of the smallest GPU, in whole GiB."""
    return -(-(bytes_by_kind(shape, asked)["total"] + RESERVED_BYTES) // GIB)


def choose(shape: Shape, asked: Request, sharding: str, memory_bytes: float) -> Request | None:
    """The request with what `auto` takes for its recipe and for `sharding`: the first way that fits with the
    micro-batch or a divisor of it. None where none does.

    The most exact recipe comes first whose state each GPU can hold whole, as a training may have to go on with fewer of
    them; then those that only fit in shards; adapters come last."""
    for way in _ways(asked, sharding):
        if any(
            fits(shape, dataclasses.replace(way, micro_batch_size=size), memory_bytes)
            for size in _divisors(asked.micro_batch_size)
        ):
            return way
    return None


def smallest(asked: Request, sharding: str) -> Request:
    """Where nothing fits: what comes nearest to it."""
    return list(_ways(asked, sharding))[-1]


def _ways(asked: Request, sharding: str) -> Iterator[Request]:
    shared = {"off": (False,), "on": (True,), "auto": (False, True)}[sharding] if asked.gpus > 1 else (False,)
    kinds = (BY_PREFERENCE[:-1], BY_PREFERENCE[-1:]) if asked.recipe == "auto" else ((asked.recipe,),)
    for recipes in kinds:
        for is_sharded in shared:
            for recipe in recipes:
                yield dataclasses.replace(asked, recipe=recipe, is_sharded=is_sharded)


def nearest_fit(shape: Shape, asked: Request, memory_bytes: float) -> Request | None:
    """The nearest request that fits: smaller micro-batches first, which change nothing that is learned, then recomputed
    activations, then sharding, then less exact recipes, then shorter rows. None where nothing does."""
    return next((near for near in _nearer(asked) if fits(shape, near, memory_bytes)), None)


def _nearer(asked: Request) -> Iterator[Request]:
    rest = BY_PREFERENCE[BY_PREFERENCE.index(asked.recipe) + 1 :] if asked.recipe in BY_PREFERENCE else BY_PREFERENCE
    for cut in (1, 2, 4):  # A row that is cut further no longer holds an answer.
        for recipe in (asked.recipe, *rest):
            for is_sharded in dict.fromkeys((asked.is_sharded, asked.gpus > 1)):
                for budget in dict.fromkeys((asked.kept_share, min(asked.kept_share, 0.5), 0)):
                    for size in _divisors(asked.micro_batch_size):
                        yield dataclasses.replace(
                            asked,
                            recipe=recipe,
                            is_sharded=is_sharded,
                            micro_batch_size=size,
                            max_tokens=max(1, asked.max_tokens // cut),
                            activation_checkpointing=budget < 1,
                            activation_budget=budget if asked.is_compiled and budget < 1 else asked.activation_budget,
                        )


def _divisors(number: int) -> list[int]:
    """Largest first; a divisor of the micro-batch divides the global batch too."""
    return [size for size in range(number, 0, -1) if number % size == 0]


SHARE_OF_PEAK = 0.55
"""Of a GPU's matrix rate that whole training steps reach; 0.55 to 0.59 measured on an H100."""

_PEAK_FLOPS = {"4090": 165e12, "A100": 312e12, "H100": 989e12, "H200": 989e12}
"""Of products of bf16 matrices, dense, summed in float32, by the makers' data sheets."""


def tokens_per_second(shape: Shape, asked: Request, gpu: str) -> float | None:
    """Of one GPU of a known kind, roughly: products of matrices, a head over half the tokens, attention."""
    peak = next((flops for name, flops in _PEAK_FLOPS.items() if name in gpu), None)
    if peak is None or asked.recipe == "fp32":
        return None
    products = 2 * (shape.layers * shape.block_parameters) + 4 * asked.max_tokens * shape.hidden * shape.layers
    passes = 2 if asked.recipe == "lora" else 3
    recipe = RECIPES[asked.recipe]
    block, stream = block_bytes(shape, recipe, asked.is_compiled), _BF16 * shape.hidden
    # Products are recomputed only by what cannot be kept after everything else is.
    is_cheap = asked.kept_share * (block - stream) >= _most_kept(shape, asked, block, stream)
    again = 0 if is_cheap else 1 - asked.kept_share
    return SHARE_OF_PEAK * peak / (products * (passes + again) + passes * shape.embeddings)
