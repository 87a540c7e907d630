"""Checks that several models of next items share."""

import numpy as np
import torch
from torch import Tensor

from recbench.core import Interactions, Queries
from recbench.core.plugin import Ranker
from recbench.nn.blocks import HistoryEncoder
from recbench.testing import interactions


def random_train(n_items: int = 40, *, longest: int = 29) -> Interactions:
    """50 users with 1 to `longest` events."""
    rng = np.random.default_rng(2)
    return interactions([rng.integers(0, n_items, rng.integers(1, longest + 1)).tolist() for _ in range(50)], n_items)


def assert_lists_do_not_depend_on_the_batch(model: Ranker, asked: Queries) -> None:
    """One by one, by sevens and all at once: the same items, and scores within 1e-5."""
    whole = model.generate(asked, 10)
    for size in (1, 7):
        for start in range(0, len(asked), size):
            rows = np.arange(start, min(start + size, len(asked)))
            part = model.generate(asked.take(rows), 10)
            np.testing.assert_array_equal(part.items, whole.items[:, rows])
            np.testing.assert_allclose(part.scores, whole.scores[:, rows], atol=1e-5, rtol=1e-5)


def assert_padding_changes_no_state(network: HistoryEncoder, lengths: list[int], columns: int, seed: int) -> None:
    """Histories of `lengths`, each alone and all in one batch of `columns` slots: states within 1e-5."""
    rng = np.random.default_rng(seed)
    item = torch.full((len(lengths), columns), network.n_items)
    for row, length in enumerate(lengths):
        item[row, :length] = torch.from_numpy(rng.integers(0, network.n_items, length))
    together: Tensor = network.last_states(item, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = network.last_states(item[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)
