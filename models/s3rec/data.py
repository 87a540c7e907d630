"""What pre-training hides from a batch of sequences, and what it compares the hidden parts with.

All draws are made with torch's default generator of the sequences' device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# B sequences, T columns, P items of the whole train part


def hidden_slots(length_B: Tensor, n_columns: int, mask_rate: float) -> Tensor:
    """Slots to hide, (B, T) bool: the newest item of each sequence, and each other item with probability `mask_rate`."""
    column_T = torch.arange(n_columns, device=length_B.device)
    newest_B1 = length_B[:, None] - 1
    is_drawn_BT = torch.rand(len(length_B), n_columns, device=length_B.device) < mask_rate
    return (column_T == newest_B1) | (is_drawn_BT & (column_T < newest_B1))


def items_outside(item_BT: Tensor, n_items: int) -> Tensor:
    """A uniform item for each slot among those that its sequence does not hold, (B, T) int64.

    Args:
        item_BT: (B, T) int64 items, `n_items` after the end; no sequence may hold all items.
        n_items: size of the catalogue.
    """
    item_BT = item_BT.sort(1).values
    is_repeat_BT = torch.zeros_like(item_BT, dtype=torch.bool)
    is_repeat_BT[:, 1:] = item_BT[:, 1:] == item_BT[:, :-1]
    item_BT = item_BT.masked_fill(is_repeat_BT, n_items).sort(1).values
    is_item_BT = item_BT < n_items
    # With distinct items s_0 < s_1 < ... the r-th item that is not among them is r + c, where c counts the j with s_j - j <= r.
    gap_BT = torch.where(is_item_BT, item_BT - torch.arange(item_BT.shape[1], device=item_BT.device), n_items)
    share_BT = torch.rand(item_BT.shape, dtype=torch.float64, device=item_BT.device)
    nth_BT = (share_BT * (n_items - is_item_BT.sum(1, keepdim=True))).long()
    return nth_BT + torch.searchsorted(gap_BT, nth_BT, right=True)


@dataclass(frozen=True, eq=False)
class Segments:
    """Three versions of each sequence, all (B, T) int64 and as long as it.

    Attributes:
        context_BT: a random segment is hidden.
        own_BT: all but that segment is hidden.
        foreign_BT: the same with a segment of the same length from anywhere in the train part.
    """

    context_BT: Tensor
    own_BT: Tensor
    foreign_BT: Tensor


def segments(item_BT: Tensor, length_B: Tensor, pool_P: Tensor, mask_row: int) -> Segments:
    """Draw a segment of each sequence, from one item to half of them, and a foreign one from all sequences end to end.

    Args:
        item_BT: (B, T) int64 items, filled up after the end.
        length_B: (B,) how many items each sequence has, at least 2.
        pool_P: (P,) int64 items of all users, one user after the other.
        mask_row: what stands for a hidden item.
    """
    share_B3 = torch.rand(len(length_B), 3, dtype=torch.float64, device=length_B.device)
    size_B = 1 + (share_B3[:, 0] * (length_B // 2)).long()
    start_B = (share_B3[:, 1] * (length_B - size_B + 1)).long()
    foreign_start_B = (share_B3[:, 2] * (len(pool_P) - size_B + 1)).long()
    place_BT = torch.arange(item_BT.shape[1], device=item_BT.device) - start_B[:, None]
    is_inside_BT = (place_BT >= 0) & (place_BT < size_B[:, None])
    is_outside_BT = ~is_inside_BT & (place_BT < (length_B - start_B)[:, None])
    foreign_place_BT = (foreign_start_B[:, None] + place_BT).where(is_inside_BT, 0)
    return Segments(
        context_BT=item_BT.masked_fill(is_inside_BT, mask_row),
        own_BT=item_BT.masked_fill(is_outside_BT, mask_row),
        foreign_BT=torch.where(is_inside_BT, pool_P[foreign_place_BT], item_BT).masked_fill(is_outside_BT, mask_row),
    )
