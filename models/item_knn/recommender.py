"""Item-based nearest neighbours."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.ranking import binary_matrix, decayed_weights, item_similarities, topk_from_scores
from recbench_models.item_knn.config import ItemKNNConfig

# B queries, U users, I items


class ItemKNN:
    """Scores an item by the sum of its similarities to the items of the history, recent ones weighing more."""

    def __init__(self, config: ItemKNNConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.similarity_II: csr_array = csr_array((catalogue.n_items, catalogue.n_items), dtype=np.float32)  # type: ignore[assignment]  # the stubs take the shape for data

    def fit(self, context: FitContext) -> FitReport:
        """Cosine of every two items that share a user; row: item of the history, column: candidate."""
        user_UI = binary_matrix(context.train)
        matrix_II = item_similarities(user_UI, shrink=self.config.shrink, neighbours=self.config.neighbours)
        self.similarity_II = matrix_II.astype(np.float32)
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
