"""Scores by a walk over the transition graph and by likeness of texts."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recbench.core import Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.ranking import topk_from_scores
from recbench_models.graph_heuristic.config import GraphHeuristicConfig
from recbench_models.graph_heuristic.graph import newest_items, transition_probabilities
from recbench_models.graph_heuristic.likeness import TextLikeness

# B queries, b queries of one block, I items

_DENSE_GAIN = 16
"""How many times faster texts are compared in one product with all items than item by item, about."""


class Walk:
    """Ranks by `(q P + two_hop (q P) P) (1 + text_weight t) + text_floor t + backoff popularity`.

    `q` weighs the newest items of the history, `P` are the transition probabilities, `t` is the likeness of `q`'s texts.

    Args:
        config: of the model.
        graph: (I, I), as `transition_graph` makes it.
        count_I: (I,) events of each item.
        likeness: of the items' texts; None where no score depends on them.
    """

    def __init__(self, config: GraphHeuristicConfig, graph: csr_array, count_I: LongArray, likeness: TextLikeness | None) -> None:
        self._walk, self._rule, self._likeness = config.walk, config.rule, likeness
        self._step_II = transition_probabilities(graph)
        self._backoff_I = config.walk.backoff * count_I / max(int(count_I.max(initial=0)), 1)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k best items; an empty history gets popularity."""
        n_items = len(self._backoff_I)
        start_BI = newest_items(queries.histories, self._walk.last_weights, n_items)

        def score_block(rows: NDArray[np.int64]) -> torch.Tensor:
            score_bI = self._scores(start_BI[rows])
            if self._rule == "no-repeats":
                past = queries.histories.take(rows)
                score_bI[past.row_of_entry(), past.item] = -1
            return torch.from_numpy(score_bI.astype(np.float32))

        return topk_from_scores(score_block, queries, k, n_items)

    def _scores(self, start_bI: csr_array) -> NDArray[np.float64]:
        walk = self._walk
        reached_bI = csr_array(start_bI @ self._step_II)
        if walk.two_hop > 0:
            # Never P P, which holds fifty times the entries of P: two products per block of queries.
            reached_bI = csr_array(reached_bI + walk.two_hop * (reached_bI @ self._step_II))
        if self._likeness is None:
            return np.asarray(reached_bI.toarray() + self._backoff_I)
        # By each query's own reach, so that its scores do not depend on its company.
        n_reached_b = np.diff(reached_bI.indptr)
        is_near_b = (n_reached_b * _DENSE_GAIN < len(self._backoff_I)) & (walk.text_floor == 0)
        score_bI = np.empty(reached_bI.shape)
        for rows, scores in ((np.flatnonzero(is_near_b), self._of_reached), (np.flatnonzero(~is_near_b), self._of_all)):
            if len(rows):
                score_bI[rows] = scores(self._likeness, start_bI[rows], reached_bI[rows])
        score_bI += self._backoff_I
        return score_bI

    def _of_reached(self, likeness: TextLikeness, start_bI: csr_array, reached_bI: csr_array) -> NDArray[np.float64]:
        """Scores of what the walk reaches; other items have none without a floor."""
        reached_bI.data *= 1 + self._walk.text_weight * likeness.of_entries(start_bI, reached_bI)
        return np.asarray(reached_bI.toarray())

    def _of_all(self, likeness: TextLikeness, start_bI: csr_array, reached_bI: csr_array) -> NDArray[np.float64]:
        """Scores of all items."""
        like_bI = likeness.of_all(start_bI)
        score_bI: NDArray[np.float64] = reached_bI.toarray()
        score_bI *= 1 + self._walk.text_weight * like_bI
        if self._walk.text_floor > 0:
            score_bI += self._walk.text_floor * like_bI
        return score_bI
