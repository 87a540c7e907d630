"""Co-bundle neighbours, ranked again by vectors of co-occurrence."""

import itertools
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.ranking import (
    ItemNeighbours,
    Similarity,
    best_by_validation,
    binary_matrix,
    item_similarities,
    mean_rows,
    topk_from_scores,
)
from recbench_models.ppmi_svd.config import PPMISVDConfig
from recbench_models.ppmi_svd.vectors import positive_pmi, svd_vectors

# b queries of one block, I items, D width

_FILE = "model.safetensors"


class PPMISVD:
    """Ranks the best items by bundles again, with the cosine of item vectors added; the others stay behind them in their order."""

    def __init__(self, config: PPMISVDConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.by_bundles = ItemNeighbours(catalogue)
        self.vector_ID = np.zeros((catalogue.n_items, 1), np.float32)
        self.vector_weight = 0.0
        self.is_scaled = False
        """Whether the best item of a query counts 1 by bundles, as counts need to stand beside cosines."""

    def fit(self, context: FitContext) -> FitReport:
        """Compare items by bundles and decompose what they have in common; measure and weight are those that validate best."""
        bundles, config = self.config.bundles, self.config
        member_SI = binary_matrix(context.train)
        alike = {
            measure: item_similarities(member_SI, measure, shrink=bundles.shrink, neighbours=bundles.neighbours)
            for measure in bundles.similarities
        }
        self.by_bundles.count_I = context.train.item_counts()
        seed = int(context.generator("ppmi-svd").integers(2**31))
        self.vector_ID = svd_vectors(positive_pmi(item_similarities(member_SI, "count")), config.width, seed)
        weights = config.weights if config.vector_weight == "validation" else (config.vector_weight,)

        def mix(candidate: tuple[Similarity, float]) -> None:
            measure, self.vector_weight = candidate
            self.by_bundles.similarity_II, self.is_scaled = alike[measure], measure == "count"

        similarity, weight = best_by_validation(context, self, list(itertools.product(alike, weights)), mix)
        n_numbers = self.by_bundles.similarity_II.nnz + self.vector_ID.size
        return FitReport(parameters=Parameters(total=n_numbers), chosen={"similarity": similarity, "vector_weight": weight})

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items of the same bundles, ranked again; all others behind them, by popularity."""
        n_items = len(self.by_bundles.count_I)
        by_bundles = self.by_bundles.scores(queries.histories)
        mean_BI = mean_rows(queries.histories, n_items)
        vector_ID = torch.from_numpy(self.vector_ID)

        def score_block(rows: LongArray) -> Tensor:
            score_bI = by_bundles(rows)
            shown_bI = torch.from_numpy(mean_BI[rows].toarray() > 0)
            evidence_bI = torch.from_numpy((mean_BI[rows] @ self.by_bundles.similarity_II).toarray() > 0)
            open_bI = torch.where(evidence_bI & ~shown_bI, score_bI, -torch.inf)
            if self.is_scaled:
                best_b1 = open_bI.amax(1, keepdim=True)
                score_bI = score_bI / torch.where(best_b1 > 0, best_b1, 1.0)
            best_bI = torch.argsort(open_bI, dim=1, descending=True, stable=True)[:, : self.config.n_candidates]
            is_candidate_bI = torch.zeros_like(shown_bI).scatter_(1, best_bI, True) & (open_bI > -torch.inf)
            cosine_bI = torch.from_numpy((mean_BI[rows] @ self.vector_ID).astype(np.float32)) @ vector_ID.T
            # A cosine is at least -1: with 1 added, no candidate falls behind an item that is none.
            return score_bI + self.vector_weight * is_candidate_bI * (1 + cosine_bI)

        return topk_from_scores(score_block, queries, k, n_items)

    def save(self, folder: Path) -> None:
        """Write similarities, vectors and weight."""
        self.by_bundles.save(folder)
        mixed = np.array([self.vector_weight, float(self.is_scaled)])
        save_file({"vectors": self.vector_ID, "mix": mixed}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read similarities, vectors and weight."""
        self.by_bundles.load(folder)
        arrays = load_file(folder / _FILE)
        self.vector_ID, self.vector_weight, self.is_scaled = arrays["vectors"], float(arrays["mix"][0]), bool(arrays["mix"][1])
