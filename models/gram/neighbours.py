"""Which items are similar: the nearest ones by the cosine of trained item vectors (GRAM, arXiv:2506.01673)."""

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import IntArray

_ROWS_PER_BLOCK = 1024


def nearest_items(vectors: NDArray[np.float32], k: int) -> IntArray:
    """The k items with the largest cosine to each item, best first, itself left out, (n_items, k) int32; equal cosines: the smaller row.

    Args:
        vectors: (n_items, d) float32; a vector of zeros has the cosine 0 to all.
        k: cut to the number of other items.
    """
    n_items = len(vectors)
    k = min(k, n_items - 1)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    nearest = np.empty((n_items, k), dtype=np.int32)
    for start in range(0, n_items, _ROWS_PER_BLOCK):
        cosine = unit[start : start + _ROWS_PER_BLOCK] @ unit.T
        own = np.arange(len(cosine))
        cosine[own, start + own] = -np.inf
        # All that could be among the k, those tied for the last place included, then in order.
        last = np.partition(cosine, n_items - k, axis=1)[:, n_items - k] if k else np.empty(0)
        for row in own if k else ():
            candidates = np.flatnonzero(cosine[row] >= last[row])
            nearest[start + row] = candidates[np.argsort(-cosine[row, candidates], kind="stable")[:k]]
    return nearest
