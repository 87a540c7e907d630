"""How often each item is shown, and what follows from it: coverage, concentration, popularity, novelty.

Formulas of baselines.md, 6.9. Everything is computed from the exposure counts, the train counts and the mean popularity of the
histories, so that a published figure can be recomputed without the lists.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recbench.core.errors import SplitMismatch
from recbench.core.ragged import IntArray, LongArray
from recbench.core.ranking import VIEWS, Rankings, View
from recbench.evaluation.facts import TargetFacts
from recbench.evaluation.rank_table import user_offsets

TOP = 10
HEAD_SHARE_OF_ITEMS = 5
"""The head is the top fifth of the items by train count, the rest is the tail (GRAM, arXiv:2506.01673)."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """How often each item stands in a top 10, for each view (n_items,) int32."""

    counts: Mapping[View, IntArray]

    def __add__(self, other: "Exposure") -> "Exposure":
        """The exposure of two batches of the same views together."""
        return Exposure({view: counts + other.counts[view] for view, counts in self.counts.items()})


def exposure_counts(rankings: Rankings, n_items: int, top: int = TOP) -> Exposure:
    """How often each item stands among the first `top` of a list, per view."""
    counts: dict[View, IntArray] = {}
    for view in rankings.views:
        shown = rankings.view(view)[:, :top].ravel()
        counts[view] = np.bincount(shown[shown >= 0], minlength=n_items).astype(np.int32)
    return Exposure(counts)


def beyond_accuracy(exposure: Exposure, facts: TargetFacts, train_count: LongArray) -> dict[View, dict[str, float]]:
    """The figures of `Background.beyond_accuracy` for one run."""
    return Background(facts, train_count).beyond_accuracy(exposure)


class Background:
    """What the figures of all runs on one test part are held against: the users, and how often items occur in the train part."""

    def __init__(self, facts: TargetFacts, train_count: LongArray) -> None:
        """`facts` of the test targets; `train_count` (n_items,)."""
        first_row = user_offsets(facts.user)[:-1]
        popularity = facts.history_popularity[first_row[facts.history_length[first_row] > 0]]
        self._history_arp = float(popularity.mean()) if len(popularity) else 0.0
        self._n_users = len(first_row)
        self._train_count = train_count
        self._is_tail = np.ones(len(train_count), dtype=np.bool_)
        self._is_tail[np.argsort(-train_count, kind="stable")[: math.ceil(len(train_count) / HEAD_SHARE_OF_ITEMS)]] = False

    def beyond_accuracy(self, exposure: Exposure) -> dict[View, dict[str, float]]:
        """Per view: coverage, gini, entropy (bits), arp, popularity_lift, tail_share, novelty (bits), each `@10`.

        * `coverage`: share of the catalogue that is shown to anybody.
        * `gini`: of the exposure over the whole catalogue; 0 is even, near 1 is all on one item.
        * `entropy`: of the exposure, in bits.
        * `arp`: mean train count of what is shown.
        * `popularity_lift`: `arp` over the mean popularity of the users' histories; absent where no history holds a train item.
        * `tail_share`: share of what is shown that lies outside the top fifth of the items by train count (rounded up; of equal
          counts the smaller rows).
        * `novelty`: mean of -log2((train count + 1) / (users + 1)) of what is shown, over the users that have a target.

        A view that shows nothing at all has only its coverage.

        Raises:
            SplitMismatch: the exposure is about another catalogue.
        """
        return {view: self._of_view(exposure.counts[view]) for view in VIEWS if view in exposure.counts}

    def _of_view(self, counts: IntArray) -> dict[str, float]:
        train_count, n_items = self._train_count, len(self._train_count)
        if len(counts) != n_items:
            raise SplitMismatch(f"The exposure covers {len(counts)} items, the train counts {n_items}. Use the files of one record.")
        shown = counts.astype(np.int64)
        total = int(shown.sum())
        figures = {"coverage": float(np.count_nonzero(shown) / n_items)}
        if total:
            place = 2 * np.arange(1, n_items + 1, dtype=np.int64) - n_items - 1
            arp = int((shown * train_count).sum()) / total
            figures |= {
                "gini": int((place * np.sort(shown)).sum()) / (n_items * total),
                "entropy": _weighted_log2(total, shown, shown),
                "arp": arp,
                "tail_share": int(shown[self._is_tail].sum()) / total,
                "novelty": _weighted_log2(self._n_users + 1, train_count + 1, shown),
            }
            if self._history_arp:
                figures["popularity_lift"] = arp / self._history_arp
        return {f"{name}@{TOP}": value for name, value in sorted(figures.items())}


def _weighted_log2(whole: int, parts: LongArray, weights: LongArray) -> float:
    """Mean of log2(whole / part), weighted; one logarithm per distinct part, the same on every machine."""
    weight_of = np.bincount(parts, weights=weights)
    present = np.flatnonzero(weight_of)
    terms = [int(weight_of[part]) * math.log2(whole / int(part)) for part in present]
    return math.fsum(terms) / int(weights.sum())
