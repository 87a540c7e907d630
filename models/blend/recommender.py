"""Co-bundle neighbours and text neighbours together."""

import itertools
import json
from pathlib import Path

import numpy as np
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.ranking import (
    ItemNeighbours,
    Similarity,
    VectorNeighbours,
    best_by_validation,
    binary_matrix,
    item_similarities,
    topk_from_scores,
)
from recbench.nn.text import text_vectors
from recbench_models.blend.config import BlendConfig

_FILE = "blend.json"


class Blend:
    """Scores an item by its mean similarity to the items that are shown plus the weighted cosine between its text and their mean text."""

    def __init__(self, config: BlendConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.by_bundles = ItemNeighbours(catalogue)
        self.by_text = VectorNeighbours(catalogue)
        self.text_weight = 0.0

    def fit(self, context: FitContext) -> FitReport:
        """Compare items by bundles and by texts; measure and weight are those that validate best."""
        bundles = self.config.bundles
        member_BI = binary_matrix(context.train)
        alike = {
            measure: item_similarities(member_BI, measure, shrink=bundles.shrink, neighbours=bundles.neighbours)
            for measure in bundles.similarities
        }
        self.by_bundles.count_I = context.train.item_counts()
        self.by_text.vector_ID = np.array(text_vectors(context, self.config.text).vectors)
        weights = self.config.candidates if self.config.text_weight == "validation" else (self.config.text_weight,)

        def mix(candidate: tuple[Similarity, float]) -> None:
            measure, self.text_weight = candidate
            self.by_bundles.similarity_II = alike[measure]

        similarity, weight = best_by_validation(context, self, list(itertools.product(alike, weights)), mix)
        n_numbers = self.by_bundles.similarity_II.nnz + self.by_text.vector_ID.size
        return FitReport(parameters=Parameters(total=n_numbers), chosen={"similarity": similarity, "text_weight": weight})

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items of the same bundles and with like texts; an item of no train bundle lives on its text alone."""
        by_bundles, by_text = self.by_bundles.scores(queries.histories), self.by_text.scores(queries.histories)

        def score_block(rows: LongArray) -> Tensor:
            return by_bundles(rows) + self.text_weight * by_text(rows)

        return topk_from_scores(score_block, queries, k, len(self.by_bundles.count_I))

    def save(self, folder: Path) -> None:
        """Write both halves and the weight."""
        self.by_bundles.save(folder)
        self.by_text.save(folder)
        (folder / _FILE).write_text(json.dumps({"text_weight": self.text_weight}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read both halves and the weight."""
        self.by_bundles.load(folder)
        self.by_text.load(folder)
        self.text_weight = float(json.loads((folder / _FILE).read_text(encoding="utf-8"))["text_weight"])
