"""What users have, and how much of it counts: matrices for models that are linear in the history."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recbench.core import Histories, Interactions

# U users, I items, N entries of all histories


def binary_matrix(train: Interactions) -> csr_array:
    """Who has what, (U, I), 1 however often."""
    matrix = csr_array((np.ones(len(train.item)), train.item, train.offsets), shape=(train.n_users, train.n_items), copy=True)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def decayed_weights(histories: Histories, decay: float) -> NDArray[np.float32]:
    """Weight of each entry, (N,) float32: decay ** age at the item's latest occurrence, 0 at earlier ones."""
    row = histories.row_of_entry()
    age = histories.offsets[1:][row] - 1 - np.arange(len(row))
    order = np.lexsort((age, histories.item, row))
    is_repeat = np.zeros(len(row), dtype=bool)
    is_repeat[order[1:]] = (np.diff(row[order]) == 0) & (np.diff(histories.item[order]) == 0)
    return np.where(is_repeat, 0.0, decay**age).astype(np.float32)
