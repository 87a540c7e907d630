"""The network in training: windows in, sum of losses out."""

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
        self._windows = windows
        self._loss = NextItemLoss(config, train)

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        device = self.encoder.item_embedding.weight.device
        windows = self._windows
        item_BT, target_BT = (torch.from_numpy(part).to(device) for part in windows.padded(rows, self.encoder.n_items))
        length_B = torch.from_numpy(windows.length[rows]).to(device)
        state_BTD = self.encoder(item_BT, length_B)
        row_S, column_S = torch.nonzero(target_BT >= 0, as_tuple=True)
        state_SD, target_S = state_BTD[row_S, column_S], target_BT[row_S, column_S]
        user_B = torch.from_numpy(windows.user[rows]).to(device)
        return self._loss(state_SD, self.encoder.item_ID, target_S, row_S, user_B), len(target_S)
