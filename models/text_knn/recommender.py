"""Text neighbours."""

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.topk import topk_from_scores
from recbench_models.text_knn.config import TextKNNConfig

_WORD = r"(?u)\w+"

# B queries, b queries of one block, I items, T terms


class TextKNN:
    """Scores an item by the cosine between its text and the mean text of the history."""

    def __init__(self, config: TextKNNConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.text_IT = csr_array((catalogue.n_items, 1), dtype=np.float32)

    def fit(self, context: FitContext) -> FitReport:
        """Read the items' texts; `BadRequest` where none of the fields holds any. No event is looked at."""
        texts = context.items.text(self.config.fields)
        if not any(re.search(_WORD, text) for text in texts):
            raise BadRequest(
                f"text-knn reads {', '.join(self.config.fields)}, and no item of this data set has a word in any of them. "
                "Choose other columns with --set fields=[...], or a model that needs no text."
            )
        # A term of one item only cannot make two items alike. Tiny catalogues keep all terms, or none might be left.
        is_large = len(texts) >= 1_000
        vectorizer = TfidfVectorizer(
            ngram_range=(1, self.config.max_words),
            token_pattern=_WORD,
            min_df=2 if is_large else 1,
            max_df=self.config.max_share if is_large else 1.0,
            sublinear_tf=True,
            dtype=np.float32,
        )
        self.text_IT = csr_array(vectorizer.fit_transform(texts))
        self.text_IT.sort_indices()
        return FitReport(parameters=Parameters(total=self.text_IT.nnz))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items with the text most like that of the history; items without text score 0."""
        histories = queries.histories
        weight = np.repeat(1.0 / np.maximum(histories.lengths, 1), histories.lengths).astype(np.float32)
        n_items = self.text_IT.shape[0]
        mean_BT = csr_array((weight, histories.item, histories.offsets), shape=(len(queries), n_items)) @ self.text_IT
        norm_B = np.sqrt(mean_BT.multiply(mean_BT).sum(axis=1))
        text_TI = csr_array(self.text_IT.T)

        def score_block(rows: NDArray[np.int64]) -> torch.Tensor:
            score_bI = (mean_BT[rows] @ text_TI).toarray()
            return torch.from_numpy(score_bI / np.maximum(norm_B[rows, None], np.float32(1e-12)))

        return topk_from_scores(score_block, queries, k, n_items)

    def save(self, folder: Path) -> None:
        """Write the items' vectors."""
        matrix = self.text_IT
        arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "n_terms": np.array([matrix.shape[1]])}
        save_file(arrays, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the items' vectors."""
        arrays = load_file(folder / "model.safetensors")
        shape = (self.text_IT.shape[0], int(arrays["n_terms"][0]))
        self.text_IT = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
