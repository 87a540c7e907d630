"""Which items of an example are hidden."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from recbench.core.ragged import LongArray

# B examples, T columns


@dataclass(frozen=True, eq=False)
class MaskedBatch:
    """Examples that are masked alike.

    Attributes:
        rows: (B,) int64 numbers of examples.
        hides_newest: the newest item of each is hidden and no other.
    """

    rows: LongArray
    hides_newest: bool

    def __len__(self) -> int:
        return len(self.rows)

    def shard(self, rank: int, size: int) -> Self:
        """Every `size`-th example from `rank` on."""
        return type(self)(self.rows[rank::size], self.hides_newest)


def hidden_slots(length_B: Tensor, n_columns: int, mask_rate: float, *, hides_newest: bool) -> Tensor:
    """Slots to hide, (B, T) bool, at least one in each row; drawn with torch's default generator of the device.

    Args:
        length_B: (B,) how many items each example has, at least 1, in its first columns.
        n_columns: T.
        mask_rate: probability of each item.
        hides_newest: hide the newest item of each example and no other.
    """
    column_T = torch.arange(n_columns, device=length_B.device)
    is_newest_BT = column_T == length_B[:, None] - 1
    if hides_newest:
        return is_newest_BT
    is_drawn_BT = torch.rand(is_newest_BT.shape, device=length_B.device) < mask_rate
    is_hidden_BT = is_drawn_BT & (column_T < length_B[:, None])
    return is_hidden_BT | (is_newest_BT & ~is_hidden_BT.any(1, keepdim=True))
