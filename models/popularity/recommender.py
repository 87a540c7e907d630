"""Popularity."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.ranking import same_for_all
from recbench_models.popularity.config import PopularityConfig

# I items


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
        # Of float32, as they are handed over: counts above 2**24 may differ and yet be equal scores.
        return same_for_all(self.count_I.astype(np.float32), queries, k)

    def save(self, folder: Path) -> None:
        """Write the counts."""
        save_file({"count": self.count_I}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the counts."""
        self.count_I = load_file(folder / "model.safetensors")["count"]
