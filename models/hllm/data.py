"""Training examples: sequences of the user tower, and the negatives they are held against.

Negatives are drawn with torch's default generator of the CPU.
"""

import numpy as np
import torch
from torch import Tensor

from recbench.core import BadRequest, Interactions
from recbench.core.ragged import LongArray
from recbench.nn.training import Windows, length_bucketed
from recbench_models.hllm.config import SequenceSettings

# B sequences, E events of a sequence, K negatives of a sequence, N negatives


def sequences_of(train: Interactions, settings: SequenceSettings) -> Windows:
    """The stretches of users' train parts that are examples, as `kind` says."""
    if settings.kind == "windows":
        return Windows.of(train, settings.max_length)
    size = settings.max_length + 1
    length_U = train.lengths
    # A user with one event has nothing to predict.
    n_each_U = np.where(length_U < 2, 0, np.maximum(length_U // size, 1) if settings.kind == "chunks" else 1)
    user = np.repeat(np.arange(train.n_users, dtype=np.int64), n_each_U)
    nth = np.arange(len(user), dtype=np.int64) - np.repeat(np.cumsum(n_each_U) - n_each_U, n_each_U)
    n_events = np.minimum(length_U[user], size)
    start = train.offsets[user + 1] - (n_each_U[user] - nth) * n_events
    return Windows(train.item, start, n_events - 1, np.zeros(len(user), np.int64), user)


def batches_of(windows: Windows, size: int, generator: np.random.Generator, *, n_shares: int) -> list[LongArray]:
    """Every sequence once, in batches of like length; none so small that one of `n_shares` parts of it would be empty."""
    batches = length_bucketed(windows.n_targets, windows.length, size=size, unit="sequences", generator=generator)
    # Processes that share negatives wait for each other in every step.
    small = [batch for batch in batches if len(batch) < n_shares]
    large = [batch for batch in batches if len(batch) >= n_shares]
    if small and large:
        large[-1] = np.concatenate([large[-1], *small])
    return large or [np.concatenate(small)] if batches else []


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
        raise BadRequest(f"A sequence holds all {n_items} items, so there is no negative to draw. Set negatives.count, or use other data.")
    while True:
        is_own_BK = (drawn_BK[:, :, None] == own_BE[:, None, :]).any(2) & is_beside_BK
        n_own = int(is_own_BK.sum())
        if n_own == 0:
            return drawn_BK
        drawn_BK[is_own_BK] = torch.randint(n_items, (n_own,))
