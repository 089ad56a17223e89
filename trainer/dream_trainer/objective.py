"""The masked-diffusion objective: the weight of each masked token, and its cross-entropy.

Formulas are those of Dream's public SFT trainer. Shapes: B rows, S places, M masked tokens, D hidden, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .model import DreamModel

_LOGITS_AT_ONCE = 2**26
"""Elements of float32 logits that exist at one time: 268 MB, some 440 tokens of the full vocabulary."""


def token_weights(masked_BS: Tensor, t_B: Tensor, weighting: str, cart_p: float) -> Tensor:
    """Weight [B, S] float32 of each masked token, 0 where not masked: 1, 1/t, 1 − t, or CART.

    t = 0 masks nothing (u < 0 never holds), so its 1/t, which would turn the batch into NaN, is never used.
    """
    if weighting == "none":
        return masked_BS.float()
    if weighting == "cart":
        return cart_weights(masked_BS, cart_p)
    weight_B = 1 - t_B.float() if weighting == "linear" else 1 / t_B.float()
    return torch.where(masked_BS, weight_B[:, None], 0.0)


def cart_weights(masked_BS: Tensor, p: float) -> Tensor:
    """CART: for masked j, Σ over unmasked i of ½·p·(1−p)^(|i−j|−1), by place in the row, padding included.

    The kernel is geometric to both sides, so the sums are two scans in O(S log S): no S×S matrix, no cut tail.
    """
    context_BS = (~masked_BS).double()
    before_BS = _geometric_scan(context_BS, 1 - p)
    after_BS = _geometric_scan(context_BS.flip(1), 1 - p).flip(1)
    weights_BS = torch.zeros_like(context_BS)
    weights_BS[:, 1:] += before_BS[:, :-1]
    weights_BS[:, :-1] += after_BS[:, 1:]
    return torch.where(masked_BS, 0.5 * p * weights_BS, 0.0).float()


def _geometric_scan(x_BS: Tensor, ratio: float) -> Tensor:
    """Σ over i ≤ j of ratio^(j−i)·x_i, by doubling: after k rounds each place has summed the last 2^k."""
    sums_BS = x_BS.clone()
    distance = 1
    while distance < x_BS.shape[1]:
        sums_BS[:, distance:] += ratio**distance * sums_BS[:, :-distance].clone()
        distance *= 2
    return sums_BS


def masked_places(masked_BS: Tensor) -> Tensor:
    """Indices [M] into the flattened [B·S] of the places whose hidden state predicts each masked token: the one
    before it (token 0 is read from place 0)."""
    rows_M, places_M = masked_BS.nonzero(as_tuple=True)
    return rows_M * masked_BS.shape[1] + (places_M - 1).clamp_min(0)


def masked_cross_entropy(
    model: DreamModel,
    noised_ids_BS: Tensor,
    attention_BS: Tensor | None,
    positions_BS: Tensor | None,
    predictors_M: Tensor,
    targets_M: Tensor,
) -> Tensor:
    """Cross-entropy [M] in nats, float32, of masked tokens only: the others' logits are never computed."""
    hidden_MD = model.hidden_at(noised_ids_BS, attention_BS, positions_BS, predictors_M)

    def cross_entropy(hidden_CD: Tensor, targets_C: Tensor) -> Tensor:
        return F.cross_entropy(model.head(hidden_CD).float(), targets_C, reduction="none")

    chunk = max(1, _LOGITS_AT_ONCE // model.config.vocab_size)
    if len(targets_M) <= chunk:
        return cross_entropy(hidden_MD, targets_M)
    parts = [
        checkpoint(cross_entropy, hidden_CD, targets_C, use_reentrant=False, preserve_rng_state=False)
        for hidden_CD, targets_C in zip(hidden_MD.split(chunk), targets_M.split(chunk), strict=True)
    ]
    return torch.cat(parts)
