"""One global batch's gradient: micro-batches of this rank, forward and backward, summed in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .batches import Batch
from .linear import Linear
from .linear_cross_entropy import weighted_cross_entropy
from .model import DreamModel
from .objective import masked_cross_entropy, masked_places
from .sharding import is_sharded


def clear_gradients(model: DreamModel) -> None:
    """Before the first micro-batch of a step. Autograd's gradients are taken as they come: nothing to clear, nothing
    to add them to. The large ones of a compiled model in bf16 are zeroed, for its products to add to; not those of a
    sharded one, which leave each block for the ranks that keep them."""
    model.zero_grad(set_to_none=True)
    if not model.is_compiled or is_sharded(model):
        return
    for module in model.modules():
        # Float32 weights are those of autocast, whose products are of another type than their gradients.
        if isinstance(module, Linear) and module.weight.requires_grad and module.weight.dtype == torch.bfloat16:
            module.clear_gradient_sum()


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
        ids_BS, predictors_M, targets_M, weights_M = (
            _to(tensor, device)
            for tensor in (
                part.noised_ids_BS,
                masked_places(part.masked_BS),
                part.clean_ids_BS[part.masked_BS],
                part.weights_BS[part.masked_BS],
            )
        )
        attention_BS, positions_BS = (
            None if tensor is None else _to(tensor, device) for tensor in (part.attention_BS, part.positions_BS)
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            if model.is_compiled:
                hidden_MD = model.hidden_at(ids_BS, attention_BS, positions_BS, predictors_M)
                loss = weighted_cross_entropy(
                    hidden_MD, model.lm_head.weight, targets_M, weights_M / divisor, model.lm_head.gradient_sum
                )
            else:
                losses_M = masked_cross_entropy(model, ids_BS, attention_BS, positions_BS, predictors_M, targets_M)
                loss = (losses_M * weights_M).sum() / divisor
        loss.backward()
        total += loss.detach()
    return total.item()


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    """Through pinned memory, so that the copy does not wait for the micro-batch before it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
