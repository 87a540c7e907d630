"""The network: item vectors, a GRU, and a projection back to the items' width."""

import torch
from torch import Tensor, nn

from recbench.nn.compute import Dropout
from recbench_models.gru4rec.config import NetworkSettings

# B histories, T columns, N items, D width, H hidden


class GRUEncoder(nn.Module):
    """The state of every slot from the items up to it.

    Batches are padded on the right, where no state looks. Initialised with torch's default generator: Xavier normal for item vectors,
    Xavier uniform for the recurrent matrices, whose three gates count as one matrix, and torch's own for the projection.

    Args:
        settings: sizes and dropout.
        n_items: rows 0..n_items-1 are items; row n_items is the padding, zero for ever.
    """

    def __init__(self, settings: NetworkSettings, n_items: int) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, settings.max_length
        self.item_embedding = nn.Embedding(n_items + 1, settings.width, padding_idx=n_items)
        self.dropout = Dropout(settings.dropout)
        self.gru = nn.GRU(settings.width, settings.hidden, settings.n_layers, bias=False, batch_first=True)
        self.projection = nn.Linear(settings.hidden, settings.width)
        nn.init.xavier_normal_(self.item_embedding.weight)
        with torch.no_grad():
            self.item_embedding.weight[n_items].zero_()
        for matrix in self.gru.parameters():
            nn.init.xavier_uniform_(matrix)

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items without the padding, (N, D): what states are multiplied with."""
        return self.item_embedding.weight[: self.n_items]

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:  # noqa: ARG002
        """The state of every slot, (B, T, D); meaningless where a history has ended.

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) how many items each history has; no state depends on it.
        """
        state_BTH, _ = self.gru(self.dropout(self.item_embedding(item_BT)))
        state_BTD: Tensor = self.projection(state_BTH)
        return state_BTD

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of each history's newest item, (B, D); lengths must be at least 1."""
        state_BTD: Tensor = self(item_BT, length_B)
        return state_BTD[torch.arange(len(item_BT), device=item_BT.device), length_B - 1]
