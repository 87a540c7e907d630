"""Lists of items as a sparse matrix: products of two count what lists have in common."""

import numpy as np
from scipy import sparse

from recbench.core.ragged import Ragged


def incidence(lists: Ragged, n_items: int) -> sparse.csr_matrix:
    """(n, n_items) float64 with ones where a list, whose items are distinct, holds an item."""
    return sparse.csr_matrix((np.ones(len(lists.item)), lists.item, lists.offsets), shape=(len(lists), n_items))
