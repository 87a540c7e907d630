"""How like the texts of items are those of a query's items."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recbench.nn.compute import product

# B queries, b queries of one product, I items, D width

_ROWS = 128


class TextLikeness:
    """Cosines, or weighted sums of them, cut off at 0.

    Args:
        vector_ID: (I, D) float32 of length 1; zeros where an item has no text.
    """

    def __init__(self, vector_ID: NDArray[np.float32]) -> None:
        self.vector_ID = vector_ID
        self._tensor_ID = torch.from_numpy(vector_ID)

    def of_all(self, start_BI: csr_array) -> NDArray[np.float32]:
        """With every item, (B, I) float32.

        Every product has the same number of rows, filled with zeros: with another number a library may sum in another order, and a
        query's list would depend on its company.
        """
        query_BD = self.queries(start_BI)
        out_BI = np.empty((len(query_BD), len(self.vector_ID)), np.float32)
        for first in range(0, len(query_BD), _ROWS):
            part = query_BD[first : first + _ROWS]
            query_bD = torch.zeros(_ROWS, query_BD.shape[1])
            query_bD[: len(part)] = torch.from_numpy(part)
            out_BI[first : first + len(part)] = product(query_bD, self._tensor_ID)[: len(part)].numpy()
        return np.maximum(out_BI, 0, out=out_BI)

    def of_entries(self, start_BI: csr_array, reached_BI: csr_array) -> NDArray[np.float32]:
        """With the items that each query's row of `reached_BI` names, (nnz,) float32 in its order."""
        query_BD = self.queries(start_BI)
        out = np.empty(reached_BI.nnz, np.float32)
        for row, query_D in enumerate(query_BD):
            here = slice(reached_BI.indptr[row], reached_BI.indptr[row + 1])
            np.matmul(self.vector_ID[reached_BI.indices[here]], query_D, out=out[here])
        return np.maximum(out, 0, out=out)

    def queries(self, start_BI: csr_array) -> NDArray[np.float32]:
        """The weighted sum of the texts that each query starts from, (B, D)."""
        vectors: NDArray[np.float32] = (start_BI.astype(np.float32) @ self.vector_ID).astype(np.float32, copy=False)
        return vectors
