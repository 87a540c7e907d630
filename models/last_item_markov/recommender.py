"""Last-item Markov chain."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.ranking import topk_from_scores
from recbench_models.last_item_markov.config import LastItemMarkovConfig

# B queries, I items


class LastItemMarkov:
    """Ranks items by how often they came directly after the last item of the history in the train part."""

    def __init__(self, config: LastItemMarkovConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.pair_II: csr_array = csr_array((catalogue.n_items, catalogue.n_items), dtype=np.float32)  # type: ignore[assignment]  # the stubs take the shape for data
        self.backoff_I = np.zeros(catalogue.n_items, dtype=np.float32)

    def fit(self, context: FitContext) -> FitReport:
        """Count neighbouring pairs within each user's train part."""
        train = context.train
        is_last = np.zeros(len(train.item) + 1, dtype=bool)
        is_last[train.offsets[1:] - 1] = True
        before = np.flatnonzero(~is_last[:-1])
        ones = np.ones(len(before), dtype=np.float32)
        self.pair_II = csr_array((ones, (train.item[before], train.item[before + 1])), shape=(train.n_items, train.n_items))
        self.pair_II.sum_duplicates()
        self.backoff_I = (self.config.backoff * train.item_counts()).astype(np.float32)
        return FitReport(parameters=Parameters(total=self.pair_II.nnz + len(self.backoff_I)))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The most frequent followers of the last item, then the most popular items; an empty history gets popularity alone."""
        has_last_B = queries.histories.lengths > 0
        last_B = np.full(len(queries), -1, dtype=np.int64)
        last_B[has_last_B] = queries.histories.item[queries.histories.offsets[1:][has_last_B] - 1]

        def score_block(rows: NDArray[np.int64]) -> torch.Tensor:
            known = np.flatnonzero(last_B[rows] >= 0)
            score_BI = np.tile(self.backoff_I, (len(rows), 1))
            followers = self.pair_II[last_B[rows[known]]].tocoo()
            score_BI[known[followers.row], followers.col] += followers.data
            return torch.from_numpy(score_BI)

        return topk_from_scores(score_block, queries, k, len(self.backoff_I))

    def save(self, folder: Path) -> None:
        """Write pair counts and popularity."""
        pairs = {"data": self.pair_II.data, "indices": self.pair_II.indices, "indptr": self.pair_II.indptr}
        save_file({**pairs, "backoff": self.backoff_I}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read pair counts and popularity."""
        arrays = load_file(folder / "model.safetensors")
        self.backoff_I = arrays["backoff"]
        self.pair_II = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=self.pair_II.shape)
