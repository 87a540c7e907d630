"""Softmax over the whole catalogue at every trained slot of a window."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recbench.core.ragged import LongArray
from recbench.nn.training.losses import full_cross_entropy
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


class NextItemSoftmax(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets, as `train` wants it.

    The loss of a slot is the cross-entropy of its target under the softmax of the state's inner products with all items.

    Args:
        encoder: what is trained.
        windows: of the train part.
    """

    def __init__(self, encoder: SlotEncoder, windows: Windows) -> None:
        super().__init__()
        self.encoder = encoder
        self._windows = windows

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        item_ID = self.encoder.item_ID
        item_BT, target_BT = (torch.from_numpy(part).to(item_ID.device) for part in self._windows.padded(rows, self.encoder.n_items))
        state_BTD = self.encoder(item_BT, torch.from_numpy(self._windows.length[rows]).to(item_ID.device))
        is_trained_BT = target_BT >= 0
        target_S = target_BT[is_trained_BT]
        return full_cross_entropy(state_BTD[is_trained_BT], item_ID, target_S), len(target_S)
