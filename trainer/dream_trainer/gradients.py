"""One global batch's gradient: micro-batches of this rank, forward and backward, summed in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .batches import Batch
from .model import DreamModel
from .objective import masked_cross_entropy, masked_places


def accumulate_gradients(
    model: DreamModel,
    batch: Batch,
    chunks: Sequence[Sequence[int]],
    normalisation: str,
    *,
    micro_batches: int,
    autocast: bool,
) -> float:
    """Adds the gradient of these micro-batches' share of the batch's loss to `.grad`, and returns that share.

    `chunks` are row indices into the batch; `micro_batches` is their number over all ranks. With 'global' the
    summed loss is divided by the masked tokens of the whole batch, which are known beforehand, so that shares of
    any cut add up to the same; with 'micro-batch-means' each micro-batch counts alike, as in the public trainer.
    Micro-batches without a masked token have no loss: a batch of only such gives 0 and no gradient.
    """
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for chunk in chunks:
        part = batch.take(chunk)
        if not part.masked_tokens:
            continue
        divisor = batch.masked_tokens if normalisation == "global" else part.masked_tokens * micro_batches
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            losses_M = masked_cross_entropy(
                model,
                part.noised_ids_BS.to(device),
                None if part.attention_BS is None else part.attention_BS.to(device),
                None if part.positions_BS is None else part.positions_BS.to(device),
                masked_places(part.masked_BS).to(device),
                part.clean_ids_BS[part.masked_BS].to(device),
            )
        loss = (losses_M * part.weights_BS[part.masked_BS].to(device)).sum() / divisor
        loss.backward()
        total += loss.detach()
    return total.item()
