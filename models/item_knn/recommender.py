"""Item-based nearest neighbours."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import coo_array, csr_array, vstack

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.ranking import binary_matrix, decayed_weights, topk_from_scores
from recbench_models.item_knn.config import ItemKNNConfig

_BLOCK_ITEMS = 4_096

# B queries, U users, I items, i items of one block


class ItemKNN:
    """Scores an item by the sum of its similarities to the items of the history, recent ones weighing more."""

    def __init__(self, config: ItemKNNConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.similarity_II: csr_array = csr_array((catalogue.n_items, catalogue.n_items), dtype=np.float32)  # type: ignore[assignment]  # the stubs take the shape for data

    def fit(self, context: FitContext) -> FitReport:
        """Cosine of every two items that share a user; row: item of the history, column: candidate."""
        user_UI = binary_matrix(context.train)
        norm_I = np.sqrt(user_UI.sum(axis=0))
        blocks = []
        for start in range(0, user_UI.shape[1], _BLOCK_ITEMS):
            common_iI = (user_UI[:, start : start + _BLOCK_ITEMS].T @ user_UI).tocoo()
            common_iI.data /= norm_I[common_iI.row + start] * norm_I[common_iI.col] + self.config.shrink
            blocks.append(_neighbours(common_iI, start, self.config.neighbours))
        self.similarity_II = vstack(blocks).T.tocsr().astype(np.float32)
        self.similarity_II.sort_indices()
        return FitReport(parameters=Parameters(total=self.similarity_II.nnz))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items most like those of the history; where nothing is alike, by item number."""
        weight = decayed_weights(queries.histories, self.config.decay)
        shape = (len(queries), self.similarity_II.shape[0])
        weight_BI = csr_array((weight, queries.histories.item, queries.histories.offsets), shape=shape)

        def score_block(rows: NDArray[np.int64]) -> torch.Tensor:
            return torch.from_numpy((weight_BI[rows] @ self.similarity_II).toarray())

        return topk_from_scores(score_block, queries, k, shape[1])

    def save(self, folder: Path) -> None:
        """Write the similarities."""
        matrix = self.similarity_II
        save_file({"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the similarities."""
        arrays = load_file(folder / "model.safetensors")
        self.similarity_II = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=self.similarity_II.shape)


def _neighbours(block: coo_array, first: int, neighbours: int | None) -> csr_array:
    """Each row without the item itself and, where a number is given, without all but the most similar items."""
    is_kept = block.col != block.row + first
    row, column, value = block.row[is_kept], block.col[is_kept], block.data[is_kept]
    if neighbours is not None:
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        near = place < neighbours
        row, column, value = row[near], column[near], value[near]
    return csr_array((value, (row, column)), shape=block.shape)
