"""The plain recipe, as the public trainer has it, in our own code: fp32 weights under bf16 autocast, a dense mask,
logits of every place, CART by a dense matrix on the CPU, AdamW in torch's own loop, and each block recomputed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from ..batches import Batch
from ..config import DreamConfig
from ..model import rotary_angles, shift
from .measuring import random_model


class PlainTraining:
    def __init__(self, config: DreamConfig, device: torch.device) -> None:
        torch.use_deterministic_algorithms(False)
        torch.backends.cuda.enable_cudnn_sdp(True)
        self._config, self._device = config, device
        self._model = random_model(config, torch.float32, device).train()
        for block in self._model.model.layers:
            block.get_submodule("self_attn").__dict__["attend"] = _attend
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=2e-6, betas=(0.9, 0.95), weight_decay=0.01)

    def step(self, batch: Batch) -> None:
        device, rows, places = self._device, *batch.clean_ids_BS.shape
        ids_BS, masked_BS = batch.noised_ids_BS.to(device), batch.masked_BS.to(device)
        weights_BS = dense_cart(batch.masked_BS, 0.1).to(device)
        dense_B1SS = torch.ones(rows, 1, places, places, dtype=torch.bool, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            x = self._model.model.embed_tokens(ids_BS)
            positions_BS = torch.arange(places, device=device)[None]
            angles = rotary_angles(positions_BS, self._config.head_dim, self._config.rope_theta, x.dtype)
            for block in self._model.model.layers:
                x = checkpoint(block, x, *angles, dense_B1SS, use_reentrant=False)
            logits_BSV = shift(self._model.lm_head(self._model.model.norm(x))).float()
        losses_N = F.cross_entropy(logits_BSV.flatten(0, 1), batch.clean_ids_BS.to(device).flatten(), reduction="none")
        loss = (losses_N.view(rows, places) * masked_BS * weights_BS).sum() / masked_BS.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _attend(q_BHSK: torch.Tensor, k_BGSK: torch.Tensor, v_BGSK: torch.Tensor, mask_B1SS: torch.Tensor) -> torch.Tensor:
    """Keys and values are repeated for each query of their group."""
    group = q_BHSK.shape[1] // k_BGSK.shape[1]
    k_BHSK, v_BHSK = k_BGSK.repeat_interleave(group, dim=1), v_BGSK.repeat_interleave(group, dim=1)
    return F.scaled_dot_product_attention(q_BHSK, k_BHSK, v_BHSK, attn_mask=mask_B1SS)


def dense_cart(masked_BS: torch.Tensor, p: float) -> torch.Tensor:
    """½·p·(1−p)^(|i−j|−1) between unmasked i and masked j, by an S×S matrix."""
    place_S = torch.arange(masked_BS.shape[1])
    distance_SS = (place_S[:, None] - place_S[None]).abs()
    kernel_SS = torch.where(distance_SS > 0, 0.5 * p * (1 - p) ** (distance_SS.float() - 1), 0.0)
    return torch.where(masked_BS, (~masked_BS).float() @ kernel_SS, 0.0)
