"""Negatives, drawn with torch's default generator of the CPU."""

import torch
from torch import Tensor

from recbench.core import BadRequest

# B sequences, E events of a sequence, K negatives of a sequence, N negatives


def drawn(n: int, n_items: int) -> Tensor:
    """N items drawn uniformly from the catalogue, (N,) int64; any may be drawn, a target or an item of a history too."""
    return torch.randint(n_items, (n,))


def drawn_beside(own_BE: Tensor, n_beside_B: Tensor, n_items: int, n_each: int) -> Tensor:
    """`n_each` items for each sequence, (B, n_each) int64, of which the first ones are none of its own.

    As in the released code of arXiv:2409.12740, as many as the sequence has targets stand beside it; the others fill up and may be any.

    Args:
        own_BE: (B, E) int64, the items of each sequence; -1 is none.
        n_beside_B: (B,) how many of the drawn items must not be among them.
        n_items: size of the catalogue.
        n_each: how many are drawn for each sequence.

    Raises:
        BadRequest: a sequence holds the whole catalogue.
    """
    drawn_BK = torch.randint(n_items, (len(own_BE), n_each))
    is_beside_BK = torch.arange(n_each) < n_beside_B[:, None]
    if own_BE.shape[1] >= n_items and any(torch.unique(row[row >= 0]).numel() >= n_items for row in own_BE):
        raise BadRequest(f"A sequence holds all {n_items} items, so there is no negative to draw. Set n_negatives, or use other data.")
    while True:
        is_own_BK = (drawn_BK[:, :, None] == own_BE[:, None, :]).any(2) & is_beside_BK
        n_own = int(is_own_BK.sum())
        if n_own == 0:
            return drawn_BK
        drawn_BK[is_own_BK] = torch.randint(n_items, (n_own,))
