"""The user tower: a causal decoder that reads vectors where it once read words (arXiv:2409.12740, section 3.1)."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from recbench_models.hllm.bodies import recompute_layers
from recbench_models.hllm.config import HLLMConfig

# B sequences, T columns, E extra vectors of a sequence, D width


class UserTower(nn.Module):
    """Item vectors of histories in, a state for every place out.

    Sequences stand on the left of a batch, filled up on the right, where no earlier place looks; so a history needs no padding mask, and
    its states are those it has alone. The published code fills up on the left: with rotary positions that is the same.

    Args:
        body: of a causal language model, without its table of words.
        config: of the model.
    """

    def __init__(self, body: Any, config: HLLMConfig) -> None:
        super().__init__()
        self.body = body
        self.width = int(body.config.hidden_size)
        self.dropout = nn.Dropout(config.user.dropout)
        self._takes_positions = "position_ids" in inspect.signature(body.forward).parameters
        if config.checkpointing == "layers":
            recompute_layers(body)

    def forward(self, vector_BTD: Tensor) -> Tensor:
        """The state of every place, (B, T, D) float32: what a place knows of itself and all before it."""
        states: Tensor = self.body(inputs_embeds=self.dropout(vector_BTD), use_cache=False).last_hidden_state
        return states.float()

    def behind(self, vector_BTD: Tensor, extra_BED: Tensor, slot_BE: Tensor) -> Tensor:
        """The states (B, E, D) of extra vectors, each as if it alone stood right behind one place of its sequence.

        All of them share one pass: an extra vector sees the history up to its place and itself, and has the position that follows.

        Args:
            vector_BTD: of the histories.
            extra_BED: candidates, or a learnt vector.
            slot_BE: (B, E) int64, behind which place of its history each extra vector stands; -1: before all.
        """
        n_slots, device = vector_BTD.shape[1], vector_BTD.device
        slot_T = torch.arange(n_slots, device=device)
        n_all = n_slots + extra_BED.shape[1]
        sees = torch.zeros(len(vector_BTD), n_all, n_all, dtype=torch.bool, device=device)
        sees[:, :n_slots, :n_slots] = slot_T[:, None] >= slot_T
        sees[:, n_slots:, :n_slots] = slot_T <= slot_BE[..., None]
        sees[:, n_slots:, n_slots:] = torch.eye(extra_BED.shape[1], dtype=torch.bool, device=device)
        mask = torch.zeros(sees.shape, device=device).masked_fill_(~sees, torch.finfo(torch.float32).min)[:, None]
        position = torch.cat([slot_T.expand(len(vector_BTD), -1), slot_BE + 1], 1)
        given: dict[str, Any] = {"position_ids": position} if self._takes_positions else {}
        inputs = self.dropout(torch.cat([vector_BTD, extra_BED], 1))
        states: Tensor = self.body(inputs_embeds=inputs, attention_mask=mask, use_cache=False, **given).last_hidden_state
        return states[:, n_slots:].float()
