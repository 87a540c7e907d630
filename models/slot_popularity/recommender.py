"""Popularity within the slots that are still open."""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from torch import Tensor

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.ranking import binary_matrix, mean_rows, topk_from_scores
from recbench.nn.text import item_attributes
from recbench_models.slot_popularity.config import SlotPopularityConfig

# B queries, b queries of one block, S train bundles, I items, C categories

_FILE = "model.safetensors"


class SlotPopularity:
    """Ranks items without a category of those that are shown by their number of train bundles, and all others behind them likewise."""

    def __init__(self, config: SlotPopularityConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.count_I = np.zeros(catalogue.n_items, dtype=np.int64)
        self.category_IC = csr_array(
            (np.empty(0), np.empty(0, np.int32), np.zeros(catalogue.n_items + 1, np.int64)), shape=(catalogue.n_items, 1)
        )

    def fit(self, context: FitContext) -> FitReport:
        """Count items, and see that bundles hardly hold a category twice.

        Raises:
            BadRequest: they do, or no item has a category.
        """
        attributes = item_attributes(context.items, self.config.categories, context.log, part="categories")
        lists = attributes.joined()
        self.category_IC = csr_array((np.ones(len(lists.item)), lists.item, lists.offsets), shape=(len(lists), len(attributes.values)))
        self.count_I = context.train.item_counts()
        share = _share_of_repeats(binary_matrix(context.train) @ self.category_IC, context.train.lengths > 0)
        context.log.info("%.1f %% of the train bundles hold a category twice", 100 * share)
        if share > self.config.most_repeats:
            raise BadRequest(
                f"slot-popularity takes each category for a slot that a bundle fills once, and {100 * share:.1f} % of the train bundles "
                f"hold a category twice (at most {100 * self.config.most_repeats:g} % may). "
                "Take popularity or cobundle-knn for this data set."
            )
        return FitReport(parameters=Parameters(total=len(self.count_I)))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Popular items of open slots first."""
        shown_BC = mean_rows(queries.histories, len(self.count_I)) @ self.category_IC
        above = int(self.count_I.max(initial=0)) + 1

        def score_block(rows: LongArray) -> Tensor:
            is_filled_bI = (shown_BC[rows] @ self.category_IC.T).toarray() > 0
            return torch.from_numpy(np.where(is_filled_bI, self.count_I, self.count_I + above))

        return topk_from_scores(score_block, queries, k, len(self.count_I))

    def save(self, folder: Path) -> None:
        """Write counts and categories."""
        matrix = self.category_IC
        save_file({"count": self.count_I, "category": matrix.indices, "indptr": matrix.indptr}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read counts and categories."""
        arrays = load_file(folder / _FILE)
        category = arrays["category"]
        self.count_I = arrays["count"]
        shape = (len(self.count_I), int(category.max(initial=0)) + 1)
        self.category_IC = csr_array((np.ones(len(category)), category, arrays["indptr"]), shape=shape)


def _share_of_repeats(category_SC: csr_array, is_train_S: np.ndarray) -> float:
    """Share of the bundles, of those that are in the train part, that hold a category more than once."""
    most_S = category_SC.max(axis=1).toarray().ravel()
    return float((most_S[is_train_S] > 1).mean())
