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

_MOST_ITEMS_COMPARED = 100_000
"""Above so many items, texts are compared with the items that the walk reaches alone, some thousands."""


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
        likeness = self._likeness
        if likeness is not None and walk.text_floor == 0 and len(self._backoff_I) > _MOST_ITEMS_COMPARED:
            reached_bI.data *= 1 + walk.text_weight * likeness.of_entries(start_bI, reached_bI)
            return np.asarray(reached_bI.toarray() + self._backoff_I)
        score_bI: NDArray[np.float64] = reached_bI.toarray()
        if likeness is not None:
            like_bI = likeness.of_all(start_bI)
            score_bI *= 1 + walk.text_weight * like_bI
            if walk.text_floor > 0:
                score_bI += walk.text_floor * like_bI
        score_bI += self._backoff_I
        return score_bI
