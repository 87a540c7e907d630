"""The network in training: windows in, sum of losses out."""

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.blocks import SequenceEncoder
from recbench.nn.training import NextItemLoss, Windows
from recbench_models.sasrec.config import NetworkSettings, SASRecConfig

# B windows, T columns, S trained slots, D width


def build_encoder(settings: NetworkSettings, n_items: int) -> SequenceEncoder:
    """The untrained network, initialised with torch's default generator."""
    return SequenceEncoder(
        n_items,
        width=settings.width,
        n_layers=settings.n_layers,
        n_heads=settings.n_heads,
        hidden=settings.hidden or settings.width,
        max_length=settings.max_length,
        dropout=settings.dropout,
        norm=settings.norm,
        activation=settings.activation,
        init=settings.init,
        embedding_scale=settings.width**0.5 if settings.embedding_scale == "root-width" else settings.embedding_scale,
        embedding_norm=settings.embedding_norm,
        inner_dropout=settings.inner_dropout,
        attention_output=settings.attention_output or None,
        layer_norm_eps=settings.layer_norm_eps,
    )


class SASRecTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets."""

    def __init__(self, encoder: SequenceEncoder, config: SASRecConfig, train: Interactions, windows: Windows) -> None:
        super().__init__()
        self.encoder = encoder
        self._windows, self._is_mixed = windows, config.batch_order == "random"
        self._loss = NextItemLoss(config, train)

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        device = self.encoder.item_embedding.weight.device
        groups = self._windows.of_like_length(rows) if self._is_mixed else [rows]
        states, targets, sequences = zip(*map(self._states, groups), strict=True)
        first = np.cumsum([0, *map(len, groups)])
        sequence_S = torch.cat([part + int(start) for part, start in zip(sequences, first, strict=False)])
        user_B = torch.from_numpy(self._windows.user[np.concatenate(groups)]).to(device)
        target_S = torch.cat(targets)
        return self._loss(torch.cat(states), self.encoder.item_ID, target_S, sequence_S, user_B), len(target_S)

    def _states(self, rows: LongArray) -> tuple[Tensor, Tensor, Tensor]:
        """State (S, D), target (S,) and window, as a place in `rows`, (S,) of each trained slot of windows `rows`."""
        device = self.encoder.item_embedding.weight.device
        item_BT, target_BT = (torch.from_numpy(part).to(device) for part in self._windows.padded(rows, self.encoder.n_items))
        state_BTD = self.encoder(item_BT, torch.from_numpy(self._windows.length[rows]).to(device))
        row_S, column_S = torch.nonzero(target_BT >= 0, as_tuple=True)
        return state_BTD[row_S, column_S], target_BT[row_S, column_S], row_S
