"""Item vectors out of the matrix of co-occurrence."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.extmath import randomized_svd

# I items, D width


def positive_pmi(common_II: csr_array) -> csr_array:
    """Positive pointwise mutual information of a symmetric matrix of counts, (I, I): max(0, log(C_ij * sum C / (r_i * r_j)))."""
    pairs = common_II.tocoo()
    total_I = common_II.sum(axis=1)
    value = np.log(pairs.data * total_I.sum() / (total_I[pairs.row] * total_I[pairs.col]))
    is_positive = value > 0
    return csr_array((value[is_positive], (pairs.row[is_positive], pairs.col[is_positive])), shape=common_II.shape)


def svd_vectors(matrix_II: csr_array, width: int, seed: int) -> NDArray[np.float32]:
    """Left singular vectors weighted by the roots of their singular values, every row at length 1, (I, D); zeros for an empty row."""
    left_ID, value_D, _ = randomized_svd(matrix_II, min(width, matrix_II.shape[0]), random_state=seed)
    vector_ID = left_ID * np.sqrt(value_D)
    vector_ID[matrix_II.sum(axis=1) == 0] = 0.0
    unit: NDArray[np.float32] = (vector_ID / np.maximum(np.linalg.norm(vector_ID, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit
