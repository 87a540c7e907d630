"""Popularity."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench_models.popularity.config import PopularityConfig

# B queries, I items, K length of a list, W items that are looked at to fill it


class Popularity:
    """Ranks items by their number of events in the train part; the user does not matter."""

    def __init__(self, config: PopularityConfig, catalogue: Catalogue) -> None:  # noqa: ARG002
        self.count_I = np.zeros(catalogue.n_items, dtype=np.int64)

    def fit(self, context: FitContext) -> FitReport:
        """Count the events of each item."""
        self.count_I = context.train.item_counts()
        return FitReport(parameters=Parameters(total=len(self.count_I)))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The most frequent items, the same for all queries but for what `unseen` excludes."""
        n_items = len(self.count_I)
        # Sorted as the float32 scores that are handed over: counts above 2**24 may differ and yet be equal scores.
        score_I = self.count_I.astype(np.float32)
        order_I = np.argsort(-score_I, kind="stable").astype(np.int32)
        place_I = np.empty(n_items, dtype=np.int64)
        place_I[order_I] = np.arange(n_items)
        items = np.full((len(queries.views), len(queries), k), -1, dtype=np.int32)
        for v, view in enumerate(queries.views):
            # A list of K is full after at most K places and those that the longest history takes away.
            width = min(n_items, k + (int(queries.histories.lengths.max(initial=0)) if view == "unseen" else 0))
            is_open_BW = np.ones((len(queries), width), dtype=bool)
            if view == "unseen":
                place = place_I[queries.histories.item]
                near = place < width
                is_open_BW[queries.histories.row_of_entry()[near], place[near]] = False
            nth_BW = np.cumsum(is_open_BW, axis=1) - 1
            row, place = np.nonzero(is_open_BW & (nth_BW < k))
            items[v, row, nth_BW[row, place]] = order_I[place]
        scores = np.where(items >= 0, score_I[items], np.float32(-np.inf))
        return Rankings(queries.views, items, scores)

    def save(self, folder: Path) -> None:
        """Write the counts."""
        save_file({"count": self.count_I}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the counts."""
        self.count_I = load_file(folder / "model.safetensors")["count"]
