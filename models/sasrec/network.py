"""The network in training: windows in, sum of losses out."""

import torch
from torch import Tensor, nn

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.blocks import SequenceEncoder
from recbench.nn.training import Windows, binary_cross_entropy, full_cross_entropy, generalised_binary_cross_entropy, sampled_softmax
from recbench_models.sasrec.config import NetworkSettings, SASRecConfig
from recbench_models.sasrec.data import NegativeSampler

# B windows, T columns, S trained slots, D width, K negatives


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
    )


class SASRecTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets."""

    def __init__(self, encoder: SequenceEncoder, config: SASRecConfig, train: Interactions, windows: Windows) -> None:
        super().__init__()
        self.encoder = encoder
        self._config, self._windows = config, windows
        self._negatives = NegativeSampler(train) if config.loss in ("bce", "ssm") else None

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        device = self.encoder.item_embedding.weight.device
        windows = self._windows
        item_BT, target_BT = (torch.from_numpy(part).to(device) for part in windows.padded(rows, self.encoder.n_items))
        length_B = torch.from_numpy(windows.length[rows]).to(device)
        state_BTD = self.encoder(item_BT, length_B)
        row_S, column_S = torch.nonzero(target_BT >= 0, as_tuple=True)
        hidden_SD, target_S = state_BTD[row_S, column_S], target_BT[row_S, column_S]
        user_B = torch.from_numpy(windows.user[rows]).to(device)
        return self._loss(hidden_SD, target_S, row_S, user_B), len(target_S)

    def _loss(self, hidden_SD: Tensor, target_S: Tensor, row_S: Tensor, user_B: Tensor) -> Tensor:
        config, item_ID = self._config, self.encoder.item_ID
        if config.loss == "ce":
            return full_cross_entropy(hidden_SD, item_ID, target_S)
        positive_S = (hidden_SD * item_ID[target_S]).sum(1)
        if config.loss == "gbce":
            # arXiv:2308.07192 draws from all items, the target and the user's own included.
            drawn_SK = torch.randint(len(item_ID), (len(target_S), config.n_negatives), device=target_S.device)
            negative_SK = torch.einsum("sd,skd->sk", hidden_SD, item_ID[drawn_SK])
            return generalised_binary_cross_entropy(positive_S, negative_SK, len(item_ID), config.calibration)
        assert self._negatives is not None
        if config.loss == "bce":
            drawn_SK = self._negatives.draw(user_B[row_S], 1)
            return binary_cross_entropy(positive_S, (hidden_SD * item_ID[drawn_SK[:, 0]]).sum(1, keepdim=True))
        drawn_BK = self._negatives.draw(user_B, config.n_negatives)
        negative_SK = torch.einsum("sd,skd->sk", hidden_SD, item_ID[drawn_BK][row_S])
        return sampled_softmax(positive_S, negative_SK)
