"""Lists by places: so many for each distance from the newest item, filled with the most like texts (arXiv:2605.07125, code at 2db502a)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recbench.core import Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.ranking import topk_from_scores
from recbench_models.graph_heuristic.config import RingSettings
from recbench_models.graph_heuristic.graph import newest_items
from recbench_models.graph_heuristic.likeness import TextLikeness

# B queries, b queries of one block, I items, V views, K length of a list

_BLOCK_BYTES = 64 * 2**20


class Rings:
    """Ranks by the rings around the newest items: successors, successors of these, and once more.

    A ring holds what no ring before it does. In the first an item scores its cosine with the ring's centre and a bonus for its count, in
    the others the cosine alone. Behind the places of all rings come their left-overs, in the order of the rings, then the items whose
    texts are like that of the newest item, then popularity.

    Args:
        settings: places of each ring.
        graph: (I, I) counts of transitions.
        count_I: (I,) events of each item.
        likeness: of the items' texts.
    """

    def __init__(self, settings: RingSettings, graph: csr_array, count_I: LongArray, likeness: TextLikeness) -> None:
        self._settings, self._graph, self._likeness = settings, graph, likeness
        self._is_edge_II = csr_array((np.ones(graph.nnz, np.float32), graph.indices, graph.indptr), shape=graph.shape)
        self._popularity_I = torch.from_numpy(count_I.astype(np.float32))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items of the rings' places; the score is one over the place. `unseen` takes the history out of the rings first."""
        n_items = len(self._popularity_I)
        items = np.full((len(queries.views), len(queries), k), -1, np.int32)
        rows_per_block = max(1, _BLOCK_BYTES // (8 * max(n_items, 1)))
        for first in range(0, len(queries), rows_per_block):
            rows = np.arange(first, min(first + rows_per_block, len(queries)))
            items[:, rows] = self._block(queries.take(rows), k)
        place_K = np.arange(1, k + 1, dtype=np.float32)
        return Rankings(queries.views, items, np.where(items >= 0, 1 / place_K, np.float32(-np.inf)))

    def _block(self, queries: Queries, k: int) -> NDArray[np.int32]:
        settings, n_items = self._settings, len(self._popularity_I)
        # A list is never longer than what each ring is asked for, so no item that is listed before can push one out.
        width = max(k, sum(settings.newest) + sum(settings.second))

        def best(score_bI: NDArray[np.float32]) -> NDArray[np.int32]:
            return topk_from_scores(lambda rows: torch.from_numpy(score_bI[rows]), queries, width, n_items).items

        ringed: list[NDArray[np.int32]] = []
        like_bI: NDArray[np.float32] | None = None
        for age, places in enumerate((settings.newest, settings.second)):
            if not places:
                continue
            centre_bI = newest_items(queries.histories, (0.0,) * age + (1.0,), n_items)
            centre_bI.eliminate_zeros()
            cosine_bI = self._likeness.of_all(centre_bI)
            like_bI = cosine_bI if like_bI is None else like_bI
            ringed += [best(score_bI) for score_bI in self._ring_scores(centre_bI, cosine_bI, len(places))]
        assert like_bI is not None
        alike = best(np.where(like_bI > 0, like_bI, np.float32(-np.inf)))
        popular = topk_from_scores(lambda rows: self._popularity_I.expand(len(rows), -1).clone(), queries, width, n_items).items
        budgets = (*settings.newest, *settings.second)
        return np.array(
            [
                [placed([ring[v, b].tolist() for ring in ringed], budgets, [alike[v, b].tolist(), popular[v, b].tolist()], k)]
                for v in range(len(queries.views))
                for b in range(len(queries))
            ],
            np.int32,
        ).reshape(len(queries.views), len(queries), k)

    def _ring_scores(self, centre_bI: csr_array, cosine_bI: NDArray[np.float32], n_rings: int) -> list[NDArray[np.float32]]:
        """Scores (b, I) of each ring; -inf outside it."""
        successors = csr_array(centre_bI @ self._graph)
        bonus = np.log1p(successors.data)
        most_b = np.maximum.reduceat(np.append(bonus, 0), np.minimum(successors.indptr[:-1], len(bonus)))
        bonus *= self._settings.count_bonus / np.repeat(most_b, np.diff(successors.indptr))
        row, column = successors.tocoo().coords
        first_bI = np.full(cosine_bI.shape, -np.inf, np.float32)
        first_bI[row, column] = cosine_bI[row, column] + bonus
        scores = [first_bI]
        is_taken_bI = (first_bI > -np.inf) | (centre_bI.toarray() > 0)
        ring = successors
        for _ in range(1, n_rings):
            row, column = csr_array(ring @ self._is_edge_II).tocoo().coords
            is_new = ~is_taken_bI[row, column]
            row, column = row[is_new], column[is_new]
            score_bI = np.full(cosine_bI.shape, -np.inf, np.float32)
            score_bI[row, column] = cosine_bI[row, column]
            scores.append(score_bI)
            is_taken_bI[row, column] = True
            ring = csr_array((np.ones(len(row), np.float32), (row, column)), shape=centre_bI.shape)
        return scores


def placed(rings: Sequence[Sequence[int]], budgets: Sequence[int], behind: Sequence[Sequence[int]], k: int) -> list[int]:
    """One list of k items by the places of the rings; -1 where nothing is left.

    A ring that holds fewer than its places first takes left-overs of the rings before it, the best of the first ring first, and then
    gives all it has.

    Args:
        rings: items of each ring, best first; -1 where a ring has ended.
        budgets: places of each ring.
        behind: what follows the left-overs, best first.
        k: length of the list.
    """
    listed: dict[int, None] = {}
    queue: list[int] = []
    for ring, places in zip(rings, budgets, strict=True):
        own = [item for item in ring if item >= 0 and item not in listed]
        lent = queue[: max(places - len(own), 0)]
        listed.update(dict.fromkeys([*lent, *own[:places]]))
        queue = [item for item in dict.fromkeys([*queue, *own[places:]]) if item not in listed]
    for items in (queue, *behind):
        listed.update(dict.fromkeys(item for item in items if item >= 0))
    out = list(listed)[:k]
    return out + [-1] * (k - len(out))
