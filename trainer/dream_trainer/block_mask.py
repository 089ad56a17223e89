"""Block masks of FlexAttention where keys alone are visible or not, made without any S×S matrix.

Shapes: B rows, S places (whole blocks), N blocks of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128
"""Places of a block, FlexAttention's own default."""

_LARGER_THAN_ANY = 1 << 30
"""As FlexAttention marks that there are no blocks."""


def key_block_mask(visible_BS: Tensor) -> BlockMask:
    """Every query sees the visible keys. Blocks of keys without any are left out, those of visible ones alone are not
    looked at key by key. S is a multiple of BLOCK."""
    rows, places = visible_BS.shape
    seen_BN = visible_BS.view(rows, -1, BLOCK).sum(dim=-1)

    def blocks(chosen_BN: Tensor) -> tuple[Tensor, Tensor]:
        """How many, and which first, for every block of queries: [B, 1, N] and [B, 1, N, N]."""
        count = places // BLOCK
        number_B = chosen_BN.sum(dim=-1, dtype=torch.int32)
        order_BN = chosen_BN.int().sort(dim=-1, descending=True, stable=True).indices.int()
        return (
            number_B[:, None, None].expand(-1, 1, count).contiguous(),
            order_BN[:, None, None].expand(-1, 1, count, -1).contiguous(),
        )

    def is_visible(row: Tensor, _head: Tensor, _query: Tensor, key: Tensor) -> Tensor:
        return visible_BS[row, key]

    partial = blocks((seen_BN > 0) & (seen_BN < BLOCK))
    full = blocks(seen_BN == BLOCK)
    return BlockMask.from_kv_blocks(
        *partial, *full, BLOCK_SIZE=BLOCK, mask_mod=is_visible, seq_lengths=(places, places)
    )


def whole_block_mask(places: int, device: torch.device) -> BlockMask:
    """Every query sees every key: one block, for which the kernel looks nothing up."""
    one = torch.ones(1, 1, 1, dtype=torch.int32, device=device)
    return BlockMask.from_kv_blocks(
        one, torch.zeros_like(one)[..., None], BLOCK_SIZE=_LARGER_THAN_ANY, seq_lengths=(places, places)
    )
