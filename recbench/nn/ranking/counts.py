"""Ranking by scores that do not depend on the query."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recbench.core import Catalogue, Queries, Rankings

# B queries, I items, K length of a list, W items that are looked at to fill it

_FILE = "model.safetensors"


class ItemCounts:
    """Ranks items by a count of each, the same for everybody; a recommender adds `fit`, which counts.

    Attributes:
        count_I: (n_items,) int64.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.count_I = np.zeros(catalogue.n_items, dtype=np.int64)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items of the highest counts, the same for all queries but for what `unseen` excludes; equal ones by item row."""
        # Of float32, as they are handed over: counts above 2**24 may differ and yet be equal scores.
        score_I = self.count_I.astype(np.float32)
        n_items = len(score_I)
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
        save_file({"count": self.count_I}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read the counts."""
        self.count_I = load_file(folder / _FILE)["count"]
