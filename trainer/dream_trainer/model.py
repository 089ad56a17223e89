"""The Dream transformer: Qwen2.5's blocks with full (bidirectional) attention, under Hugging Face's parameter names.

Shapes: B rows, S places, D hidden, H query heads, G key/value heads, K head dim, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils.checkpoint import checkpoint

from .block_mask import BLOCK, key_block_mask, whole_block_mask
from .config import DreamConfig
from .linear import Linear

Mask = Tensor | BlockMask | None
"""What a query may see: booleans [B, 1, 1, S], blocks of them for compiled FlexAttention, or all."""


class RMSNorm(nn.Module):
    """Normalises in float32, casts back, *then* multiplies by the weight: the order matters in bf16."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return self.weight * (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)


def rotary_angles(position_ids_BS: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, 1, S, K] of the rotary embedding; angles in float32 whatever the autocast, then cast."""
    with torch.autocast(position_ids_BS.device.type, enabled=False):
        exponents = torch.arange(0, head_dim, 2, device=position_ids_BS.device).float() / head_dim
        angles = position_ids_BS.float()[:, None, :, None] * (1.0 / theta**exponents)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the first half of the head dimension against the second."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.q_proj = Linear(config.hidden_size, self.heads * self.head_dim, bias=True)
        self.k_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=True)
        self.v_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=True)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, x_BSD: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        rows, places, _ = x_BSD.shape
        q_BHSK = self.q_proj(x_BSD).view(rows, places, self.heads, self.head_dim).transpose(1, 2)
        k_BGSK = self.k_proj(x_BSD).view(rows, places, self.kv_heads, self.head_dim).transpose(1, 2)
        v_BGSK = self.v_proj(x_BSD).view(rows, places, self.kv_heads, self.head_dim).transpose(1, 2)
        q_BHSK, k_BGSK = rotate(q_BHSK, cos, sin), rotate(k_BGSK, cos, sin)
        out_BHSK = self.attend(q_BHSK, k_BGSK, v_BGSK, mask)
        return self.o_proj(out_BHSK.transpose(1, 2).reshape(rows, places, -1))

    def attend(self, q_BHSK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Mask) -> Tensor:
        if isinstance(mask, BlockMask):
            # The fastest kernel whose gradients repeat to the bit. All lengths are multiples of its block.
            # Values have the type of queries and keys also under autocast, which casts no argument of this.
            attend: Any = flex_attention  # Its type knows no grouped queries together with options.
            out = attend(
                q_BHSK.to(v_BGSK.dtype),
                k_BGSK.to(v_BGSK.dtype),
                v_BGSK,
                block_mask=mask,
                enable_gqa=True,
                kernel_options={"IS_DIVISIBLE": True},
            )
            return out
        # The queries that share a key stand side by side, as more of them: what a query may see does not depend on it,
        # and no kernel has to know of groups, nor a key to be repeated.
        q_BGQK = q_BHSK.unflatten(1, (self.kv_heads, -1)).flatten(2, 3)
        out_BGQK = F.scaled_dot_product_attention(q_BGQK, k_BGSK, v_BGSK, attn_mask=mask)
        return out_BGQK.unflatten(2, (-1, q_BHSK.shape[2])).flatten(1, 2)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x_BSD: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        return self.feed(self.attend(x_BSD, cos, sin, mask))

    def attend(self, x_BSD: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        """The half that moves between places."""
        return x_BSD + self.self_attn(self.input_layernorm(x_BSD), cos, sin, mask)

    def feed(self, x: Tensor) -> Tensor:
        """The half that is each place's own."""
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        # The padding index keeps the pad row (which is the end-of-text row too) without gradient, as in the public
        # model code; weight decay still acts on it.
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class DreamModel(nn.Module):
    """`forward` gives raw logits: the one at place i − 1 predicts token i, see `shift`."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()
        self.activation_checkpointing = False
        self.is_compiled = False
        self.has_whole_rows = False
        """Both set by `compiled.compile_blocks`."""
        self.generation_cache: object | None = None
        """What `cached_sampler` keeps from one batch to the next."""

    def tie_weights(self) -> None:
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def hidden(
        self, input_ids_BS: Tensor, attention_mask_BS: Tensor | None = None, position_ids_BS: Tensor | None = None
    ) -> Tensor:
        """Hidden states [B, S, D] after the final norm.

        `attention_mask_BS` is true where a place is visible; None means all are (and is faster). Position ids are
        0, 1, 2, … where none are given. What stands at invisible places means nothing: they see the visible ones,
        so that no kernel meets a row of attention without any key.
        """
        if self.is_compiled:
            hidden_BSD = self._hidden_compiled(input_ids_BS, attention_mask_BS, position_ids_BS, None)
            return hidden_BSD[:, : input_ids_BS.shape[1]]
        places = input_ids_BS.shape[1]
        if position_ids_BS is None:
            position_ids_BS = torch.arange(places, device=input_ids_BS.device)[None]
        visible_B11S = None if attention_mask_BS is None else attention_mask_BS.bool()[:, None, None, :]
        x_BSD = self.model.embed_tokens(input_ids_BS)
        cos, sin = rotary_angles(position_ids_BS, self.config.head_dim, self.config.rope_theta, x_BSD.dtype)
        for block in self.model.layers:
            if self.activation_checkpointing and torch.is_grad_enabled():
                x_BSD = checkpoint(block, x_BSD, cos, sin, visible_B11S, use_reentrant=False, preserve_rng_state=False)
            else:
                x_BSD = block(x_BSD, cos, sin, visible_B11S)
        return self.model.norm(x_BSD)

    def hidden_at(
        self,
        input_ids_BS: Tensor,
        attention_mask_BS: Tensor | None,
        position_ids_BS: Tensor | None,
        at_M: Tensor,
    ) -> Tensor:
        """Hidden states [M, D] at indices into the flattened [B·S]. Compiled, the last block's own half is computed
        for these places alone; nothing after it looks at the others."""
        if self.is_compiled:
            return self._hidden_compiled(input_ids_BS, attention_mask_BS, position_ids_BS, at_M)
        return self.hidden(input_ids_BS, attention_mask_BS, position_ids_BS).flatten(0, 1).index_select(0, at_M)

    def _hidden_compiled(
        self, ids_BS: Tensor, visible_BS: Tensor | None, positions_BS: Tensor | None, at_M: Tensor | None
    ) -> Tensor:
        """Lengths are filled up to whole blocks of attention, invisibly, and all arguments of a block always have the
        same form, so that one graph serves every batch: one of training, and one without gradients."""
        rows, places = ids_BS.shape
        is_whole = self.has_whole_rows and torch.is_grad_enabled() and ids_BS.is_cuda
        room = (0, max(2, -(-places // BLOCK)) * BLOCK - places)
        if visible_BS is None:
            visible_BS = torch.ones_like(ids_BS, dtype=torch.bool)
        if positions_BS is None:
            positions_BS = torch.arange(places, device=ids_BS.device).repeat(rows, 1)
        visible_BS = F.pad(visible_BS.bool(), room, value=False)
        if is_whole:
            mask = whole_block_mask(places, ids_BS.device)
        else:
            mask = key_block_mask(visible_BS) if ids_BS.is_cuda else visible_BS[:, None, None, :]
        x_BSD = self.model.embed_tokens(F.pad(ids_BS, room, value=self.config.pad_token_id))
        cos, sin = rotary_angles(F.pad(positions_BS, room), self.config.head_dim, self.config.rope_theta, x_BSD.dtype)
        blocks: list[Any] = list(self.model.layers)
        last = blocks.pop()
        for block in blocks:
            x_BSD = block(x_BSD, cos, sin, mask)
        x_BSD = last.attend(x_BSD, cos, sin, mask)
        if at_M is None:
            return self.model.norm(last.feed(x_BSD))
        row_M, place_M = at_M // places, at_M % places
        x_MD = x_BSD.flatten(0, 1).index_select(0, row_M * x_BSD.shape[1] + place_M)
        torch._dynamo.maybe_mark_dynamic(x_MD, 0)
        return self.model.norm(last.feed(x_MD))

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states of any leading shape."""
        return self.lm_head(hidden)

    def forward(
        self, input_ids_BS: Tensor, attention_mask_BS: Tensor | None = None, position_ids_BS: Tensor | None = None
    ) -> Tensor:
        return self.head(self.hidden(input_ids_BS, attention_mask_BS, position_ids_BS))


def shift(x_BSX: Tensor) -> Tensor:
    """Moves logits or hidden states one place to the right, so that place i holds what predicts token i.

    Place 0 keeps its own: tokens 0 and 1 are both read from place 0, as in the public code.
    """
    return torch.cat((x_BSX[:, :1], x_BSX[:, :-1]), dim=1)


def visible_positions(attention_mask_BS: Tensor) -> Tensor:
    """Position ids as in training: the running count of visible places − 1, at least 0."""
    return (attention_mask_BS.long().cumsum(dim=1) - 1).clamp_min(0)


@torch.no_grad()
def initialise(model: DreamModel, generator: torch.Generator) -> None:
    """Fresh weights: N(0, initializer_range²), zero biases and pad row, norms 1."""
    for name, parameter in sorted(model.named_parameters()):
        if name.endswith("norm.weight"):
            parameter.fill_(1.0)
        elif name.endswith(".bias"):
            parameter.zero_()
        else:
            parameter.normal_(0.0, model.config.initializer_range, generator=generator)
    model.model.embed_tokens.weight[model.config.pad_token_id].zero_()
