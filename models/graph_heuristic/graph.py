"""The transition graph of a train part, and which of its items queries start from."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array, diags_array

from recbench.core import Histories, Interactions

# B queries, I items


def transition_graph(train: Interactions, gap_weights: Sequence[float], back: float) -> csr_array:
    """Weighted pairs of items that follow each other within a user, (I, I) float64; row: the earlier item.

    Pairs of each distance are counted as whole numbers before they are weighted, so the order of the users changes no bit.

    Args:
        train: the train part.
        gap_weights: weight of pairs at distance 1, 2, ...
        back: weight of every edge's reverse.
    """
    user = train.row_of_entry()
    shape = (train.n_items, train.n_items)
    graph: csr_array = csr_array(shape, dtype=np.float64)
    for gap, weight in enumerate(gap_weights, start=1):
        if weight == 0:
            continue
        earlier = np.flatnonzero(user[:-gap] == user[gap:])
        counts = csr_array((np.ones(len(earlier)), (train.item[earlier], train.item[earlier + gap])), shape=shape)
        counts.sum_duplicates()
        graph = graph + weight * counts
    if back > 0:
        graph = csr_array(graph + back * graph.T)
    graph.sort_indices()
    return graph


def transition_probabilities(graph: csr_array) -> csr_array:
    """The graph with every row divided by its sum; a row without entries stays empty."""
    total = np.asarray(graph.sum(axis=1))
    out = csr_array(diags_array(1.0 / np.where(total > 0, total, 1.0)) @ graph)
    out.sort_indices()
    return out


def newest_items(histories: Histories, weights: Sequence[float], n_items: int) -> csr_array:
    """Weight of each query's newest items, (B, I) float64: the j-th newest counts `weights[j]`, repeats add up."""
    tail = histories.tail(len(weights))
    age = tail.offsets[1:][tail.row_of_entry()] - 1 - np.arange(len(tail.item))
    out = csr_array((np.asarray(weights, np.float64)[age], tail.item, tail.offsets), shape=(len(tail), n_items), copy=True)
    out.sum_duplicates()
    return out
