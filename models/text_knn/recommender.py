"""Text neighbours."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.text import text_vectors
from recbench_models.text_knn.config import TextKNNConfig

# B queries, I items, D width


class TextKNN:
    """Scores an item by the cosine between its text vector and the mean vector of the history."""

    def __init__(self, config: TextKNNConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.vector_ID = np.zeros((catalogue.n_items, 1), np.float32)

    def fit(self, context: FitContext) -> FitReport:
        """Read the items' texts; `BadRequest` where none of the fields holds any. No event is looked at."""
        self.vector_ID = np.array(text_vectors(context, self.config.text).vectors)
        return FitReport(parameters=Parameters(total=self.vector_ID.size))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items with the text most like that of the history; items without text score 0."""
        histories = queries.histories
        weight = np.repeat(1.0 / np.maximum(histories.lengths, 1), histories.lengths).astype(np.float32)
        shape = (len(queries), len(self.vector_ID))
        mean_BD = csr_array((weight, histories.item, histories.offsets), shape=shape) @ self.vector_ID
        return full_catalogue_topk(torch.from_numpy(_scaled(mean_BD)), torch.from_numpy(_scaled(self.vector_ID)), queries, k)

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' text vectors, (n_items, d) float32; zeros where an item has no text."""
        return self.vector_ID

    def save(self, folder: Path) -> None:
        """Write the items' vectors."""
        save_file({"vectors": self.vector_ID}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the items' vectors."""
        self.vector_ID = load_file(folder / "model.safetensors")["vectors"]


def _scaled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row at length 1; zeros stay zeros."""
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit
