"""The train part as examples of the user tower."""

import numpy as np

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.training import Windows, length_bucketed
from recbench_models.hllm.config import HLLMConfig


def sequences_of(train: Interactions, config: HLLMConfig) -> Windows:
    """The stretches of users' train parts that are examples, as `HLLMConfig.sequences` says."""
    if config.sequences == "windows":
        return Windows.of(train, config.max_length)
    size = config.max_length + 1
    length_U = train.lengths
    # A user with one event has nothing to predict.
    n_each_U = np.where(length_U < 2, 0, np.maximum(length_U // size, 1) if config.sequences == "chunks" else 1)
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
