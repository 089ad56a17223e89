"""The validation loss: the objective on held-out rows under noise that is fixed for each row.

Every row stands at its own length, without the cutoff's draw, so that a row's loss does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .batches import lay_out, noise_rows
from .data import Row
from .distributed import Ranks
from .failures import Preempted
from .model import DreamModel, visible_positions
from .objective import masked_cross_entropy, masked_places, token_weights
from .sharding import is_sharded
from .spec import ObjectiveSpec


@torch.no_grad()
def validation_loss(
    model: DreamModel,
    rows: Sequence[Row],
    objective: ObjectiveSpec,
    *,
    seed: int,
    batch_size: int,
    ranks: Ranks,
    autocast: bool,
    preempted: Callable[[], bool],
) -> float:
    """Σ weight × cross-entropy / Σ masked tokens over all rows, in nats. Raises Preempted on all ranks at once."""
    config, device = model.config, ranks.device
    batches = [range(start, min(start + batch_size, len(rows))) for start in range(0, len(rows), batch_size)]
    rounds = -(-len(batches) // ranks.count)
    loss, masked_tokens = 0.0, 0
    for number in range(rounds):
        if ranks.sum(float(preempted()))[0]:
            raise Preempted
        index, is_counted = number * ranks.count + ranks.rank, True
        if index >= len(batches) and not is_sharded(model):
            continue
        members = batches[min(index, len(batches) - 1)]
        places = max(rows[row].tokens for row in members)
        clean_BS = torch.full((len(members), places), config.pad_token_id)
        attention_BS = torch.zeros(len(members), places, dtype=torch.bool)
        masked_BS, weights_BS = torch.zeros_like(attention_BS), torch.zeros(len(members), places)
        for line, row in enumerate(members):
            ids_S, masked_S, weights_S = _noised(rows[row], objective, config.pad_token_id, seed, row)
            length = len(ids_S)
            clean_BS[line, :length], attention_BS[line, :length] = ids_S, True
            masked_BS[line, :length], weights_BS[line, :length] = masked_S, weights_S
        if index >= len(batches) or not masked_BS.any():
            if not is_sharded(model):
                continue
            # Other ranks cannot gather without this one: it goes along, with a place that counts for nothing.
            masked_BS, weights_BS, is_counted = torch.zeros_like(masked_BS), torch.zeros_like(weights_BS), False
            masked_BS[0, 0] = True
        visible_BS = None if attention_BS.all() else attention_BS
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            losses_M = masked_cross_entropy(
                model,
                clean_BS.masked_fill(masked_BS, config.mask_token_id).to(device),
                None if visible_BS is None else visible_BS.to(device),
                None if visible_BS is None else visible_positions(visible_BS).to(device),
                masked_places(masked_BS).to(device),
                clean_BS[masked_BS].to(device),
            )
        loss += (losses_M.double() * weights_BS[masked_BS].to(device)).sum().item()
        masked_tokens += int(masked_BS.sum()) if is_counted else 0
    loss, masked_tokens_of_all = ranks.sum(loss, float(masked_tokens))
    return loss / masked_tokens_of_all if masked_tokens_of_all else 0.0


def _noised(row: Row, objective: ObjectiveSpec, pad: int, seed: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and weights [S] of one row at its own length."""
    layout = lay_out([row], "none", True, row.tokens, pad)
    t_B, masked_BS = noise_rows(layout, [(seed, "validation", number)])
    masked = torch.from_numpy(masked_BS)
    weights_BS = token_weights(masked, torch.from_numpy(t_B), objective.weighting, objective.cart_p)
    return torch.from_numpy(layout.ids_BS[0]), masked[0], weights_BS[0]
