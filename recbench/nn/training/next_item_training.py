"""The next item at every trained slot of a window, by any of the losses over next items."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.training.next_item_loss import NextItemLoss
from recbench.nn.training.next_item_settings import NextItemLossSettings
from recbench.nn.training.windows import Windows

# B windows, T columns, S trained slots, N items, D width


class SlotEncoder(Protocol):
    """A `torch.nn.Module` that gives every slot a state, which must not depend on later slots.

    Attributes:
        n_items: N; item rows are 0..N-1, and row N fills a batch up.
    """

    n_items: int

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items, (N, D): what states are multiplied with."""

    def __call__(self, item_BT: Tensor, length_B: Tensor) -> Any:
        """The state of every slot, (B, T, D), for items (B, T) int64, oldest first, and lengths (B,) int64."""


class NextItemTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets, as `train` wants it."""

    def __init__(
        self, encoder: SlotEncoder, settings: NextItemLossSettings, train: Interactions, windows: Windows, *, mixes_lengths: bool
    ) -> None:
        """
        Args:
            encoder: what is trained.
            settings: which loss, how its negatives are drawn.
            train: whose items are no negatives of their user.
            windows: of the train part.
            mixes_lengths: windows of any lengths meet in a batch; they are read in groups of like length, which saves padding.

        Raises:
            BadRequest: a user has every item, so that there is no negative to draw.
        """
        super().__init__()
        self.encoder = encoder
        self._windows, self._mixes_lengths = windows, mixes_lengths
        self._loss = NextItemLoss(settings, train)

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        groups = self._windows.of_like_length(rows) if self._mixes_lengths else [rows]
        states, targets, sequences = zip(*map(self._states, groups), strict=True)
        first = np.cumsum([0, *map(len, groups)])
        sequence_S = torch.cat([part + int(start) for part, start in zip(sequences, first, strict=False)])
        item_ID, target_S = self.encoder.item_ID, torch.cat(targets)
        user_B = torch.from_numpy(self._windows.user[np.concatenate(groups)]).to(item_ID.device)
        return self._loss(torch.cat(states), item_ID, target_S, sequence_S, user_B), len(target_S)

    def _states(self, rows: LongArray) -> tuple[Tensor, Tensor, Tensor]:
        """State (S, D), target (S,) and window, as a place in `rows`, (S,) of each trained slot of windows `rows`."""
        device = self.encoder.item_ID.device
        item_BT, target_BT = (torch.from_numpy(part).to(device) for part in self._windows.padded(rows, self.encoder.n_items))
        state_BTD = self.encoder(item_BT, torch.from_numpy(self._windows.length[rows]).to(device))
        row_S, column_S = torch.nonzero(target_BT >= 0, as_tuple=True)
        return state_BTD[row_S, column_S], target_BT[row_S, column_S], row_S
