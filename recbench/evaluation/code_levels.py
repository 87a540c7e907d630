"""Scores at code level and at item level, for item codes that several items may share.

A published evaluator that compares codes counts a hit on the target's code as a hit on the target, and gives all items of a code
one place of the list. These figures say how much that raises a score: `sid` counts so, the `item_*` ones do not.

For one target: `a` codes rank above its own, their items are `P` candidates; its own code has `g` candidates, `b` of them in smaller
rows than the target. The code is hit where a < k. The target's place, from 0, is P + b where the items of a code stand by row, any of
P to P + g - 1 with equal chance where they stand at random, P at best and P + g - 1 at worst.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recbench.core.codes_file import CodeTable
from recbench.core.ragged import Histories, LongArray, Targets
from recbench.core.ranking import UNSEEN, Queries, Rankings, View
from recbench.evaluation.code_statistics import PREFIX
from recbench.evaluation.intervals import grouped, mean_intervals
from recbench.evaluation.metrics.places import discounts
from recbench.evaluation.rank_table import entries_in
from recbench.evaluation.ties import expected_hit, expected_ndcg

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SID, AT_RANDOM, BY_ROW, WORST, BEST = "sid", "item_random", "item_by_row", "item_worst", "item_best"
LEVELS = (SID, AT_RANDOM, BY_ROW, WORST, BEST)
"""What a place counts: codes; or items, those of one code in random order, by row, with the target last, or first."""
KINDS = ("recall", "ndcg")
_CELLS_AT_A_TIME = 1 << 22


@dataclass(frozen=True, eq=False)
class CodePlaces:
    """Places of Q targets, one per query, among codes and among items.

    Attributes:
        better_codes: (Q,) int64, a.
        better_items: (Q,) int64, P.
        group: (Q,) int64, g; at least 1 where the target is found.
        before: (Q,) int64, b.
        is_found: (Q,) whether the ranking reaches the target's code; where it does not, every score is 0. Never true of a target that
            is no candidate, such as an item of the history in the view `unseen`.
        is_open: (Q,) whether the ranking ended for its bounded length without that code: `better_codes` is then a lower bound.
    """

    better_codes: LongArray
    better_items: LongArray
    group: LongArray
    before: LongArray
    is_found: BoolArray
    is_open: BoolArray

    @classmethod
    def of_scores(cls, score_QC: FloatArray, candidates_QC: LongArray, code_Q: LongArray, before_Q: LongArray) -> Self:
        """Places by the scores of all C codes.

        Args:
            score_QC: higher is better; equal scores share a place.
            candidates_QC: items of each code that may be recommended; a code without one is passed over.
            code_Q: the code of each target.
            before_Q: candidates of that code in smaller rows than the target.
        """
        query = np.arange(len(code_Q))
        group = candidates_QC[query, code_Q]
        is_better = (score_QC > score_QC[query, code_Q][:, None]) & (candidates_QC > 0)
        better_items = np.where(is_better, candidates_QC, 0).sum(axis=1)
        nowhere = np.zeros(len(code_Q), dtype=np.bool_)
        return cls(is_better.sum(axis=1), better_items, group, before_Q, group > 0, nowhere)

    def is_undecided(self, k: int) -> BoolArray:
        """(Q,) whether a longer ranking could still have the target's code among its first k codes."""
        return self.is_open & (self.better_codes < k)

    def values(self, level: str, kind: str, k: int) -> FloatArray:
        """(Q,) score of every target, in [0, 1].

        Args:
            level: one of `LEVELS`.
            kind: `recall` or `ndcg`.
            k: places that count.
        """
        if level == AT_RANDOM:
            expected = expected_hit if kind == "recall" else expected_ndcg
            return np.where(self.is_found, expected(self.better_items, np.maximum(self.group, 1), k), 0.0)
        return np.where(self.is_found, _gain(self._rank(level), kind, k), 0.0)

    def _rank(self, level: str) -> LongArray:
        """(Q,) places from 0."""
        if level == SID:
            return self.better_codes
        nothing = np.zeros_like(self.before)
        return self.better_items + {BEST: nothing, BY_ROW: self.before, WORST: self.group - 1}[level]


def _gain(rank: LongArray, kind: str, k: int) -> FloatArray:
    """Score of places from 0."""
    gain = np.append(np.ones(k) if kind == "recall" else discounts(k), 0.0)
    values: FloatArray = gain[np.minimum(rank, k)]
    return values


def code_groups(table: CodeTable) -> LongArray:
    """(n_items,) equal numbers, from 0 on, for items whose codes are equal once what only tells items apart is taken off."""
    return np.unique(table.meaning(), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def places_in_lists(rankings: Rankings, view: View, group_N: LongArray, targets: Targets, queries: Queries) -> CodePlaces:
    """Places by ranked lists of items: a code stands where the first of its items does.

    Args:
        rankings: lists of Q queries; one with room at its end holds all that the model would give.
        view: which lists; in `unseen` the items of the history are no candidates.
        group_N: number of each item's code, as from `code_groups`.
        targets: one per query.
        queries: the queries.
    """
    items_QK = rankings.view(view)
    target_Q = targets.item.astype(np.int64)
    own_Q = group_N[target_Q]
    n_codes = int(group_N.max()) + 1
    size_C = np.bincount(group_N, minlength=n_codes).astype(np.int64)
    left_out = _LeftOut(queries.histories if view == UNSEEN else None, group_N, n_codes)
    n, width = items_QK.shape
    better_codes, better_items = np.zeros(n, np.int64), np.zeros(n, np.int64)
    is_found, is_full = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    block = max(1, _CELLS_AT_A_TIME // max(width, 1))
    for start in range(0, n, block):
        rows = slice(start, start + block)
        listed = np.asarray(items_QK[rows])
        is_item = listed >= 0
        code = np.where(is_item, group_N[listed], n_codes)
        is_own = code == own_Q[rows, None]
        is_found[rows] = is_own.any(axis=1)
        is_full[rows] = is_item.all(axis=1)
        end = np.where(is_found[rows], is_own.argmax(axis=1), width)
        row, place = np.nonzero(_first_of_its_value(code) & is_item & (np.arange(width) < end[:, None]))
        n_better = len(end)
        better_codes[rows] = np.bincount(row, minlength=n_better)
        candidates = size_C[code[row, place]] - left_out.of(start + row, code[row, place])
        better_items[rows] = np.bincount(row, weights=candidates, minlength=n_better)
    query = np.arange(n)
    is_candidate = ~left_out.holds(query, target_Q)
    group = size_C[own_Q] - left_out.of(query, own_Q)
    before = _place_in_group(group_N)[target_Q] - left_out.before(query, target_Q)
    return CodePlaces(better_codes, better_items, group, before, is_found & is_candidate, ~is_found & is_full & is_candidate)


def collision_figures(table: CodeTable, targets: Targets) -> dict[str, float]:
    """How many test targets share their code with another item, by the names in a record's diagnostics; nothing without a target.

    `codes_targets_in_groups`: share of the targets whose code another item has too.
    `codes_mean_1_over_g`: mean over the targets of 1 / (items with the target's code): the score of a model that always finds the
    right code first and then guesses.
    """
    if len(targets.item) == 0:
        return {}
    group_N = code_groups(table)
    size = np.bincount(group_N)[group_N[targets.item]]
    return {f"{PREFIX}targets_in_groups": float((size > 1).mean()), f"{PREFIX}mean_1_over_g": float((1.0 / size).mean())}


def level_figures(table: CodeTable, rankings: Rankings, targets: Targets, queries: Queries, cutoffs: Sequence[int]) -> dict[str, float]:
    """Scores at both levels from the lists of a model with codes, by the names that they have in a record's diagnostics.

    Per view and cut-off k below the length of the lists: `codes_LEVEL_KIND@k_VIEW` for `LEVELS` and `KINDS`, means over users, those of
    `sid` with the ends of their 95 % bootstrap interval (`_low`, `_high`); `codes_inflation_KIND@k_VIEW`, sid over item at random, where
    that is above 0; `codes_undecided@k_VIEW`, users for whom the list ends before k different codes stand in it and without the target's:
    they count as misses. Nothing where a query asks for several items at once: one code may then be the answer to two of them.
    """
    if len(targets) == 0 or (targets.lengths != 1).any():
        return {}
    group_N = code_groups(table)
    users, user_Q = np.unique(queries.user, return_inverse=True)
    figures: dict[str, float] = {}
    for view in rankings.views:
        places = places_in_lists(rankings, view, group_N, targets, queries)
        below = [k for k in cutoffs if k < rankings.k]
        for k in below:
            for kind in KINDS:
                means = {level: _of_users(places.values(level, kind, k), user_Q, len(users)).mean() for level in LEVELS}
                figures |= {f"{PREFIX}{level}_{kind}@{k}_{view}": float(mean) for level, mean in means.items()}
                if means[AT_RANDOM] > 0:
                    figures[f"{PREFIX}inflation_{kind}@{k}_{view}"] = float(means[SID] / means[AT_RANDOM])
            figures[f"{PREFIX}undecided@{k}_{view}"] = float(np.count_nonzero(np.bincount(user_Q[places.is_undecided(k)])))
        figures |= _sid_intervals(places, view, below, user_Q, len(users))
    return figures


def _sid_intervals(places: CodePlaces, view: View, cutoffs: Sequence[int], user_Q: LongArray, n_users: int) -> dict[str, float]:
    names = [(kind, k) for k in cutoffs for kind in KINDS]
    if not names:
        return {}
    if n_users == len(user_Q):
        # Users of one rank cannot be told apart: a row for each rank, however many users there are.
        beyond = max(cutoffs)
        rank_G, size_G = np.unique(np.where(places.is_found, np.minimum(places.better_codes, beyond), beyond), return_counts=True)
        values_GM, size_G = np.stack([_gain(rank_G, kind, k) for kind, k in names], axis=1), size_G.astype(np.int64)
    else:
        values_UM = np.stack([_of_users(places.values(SID, kind, k), user_Q, n_users) for kind, k in names], axis=1)
        values_GM, size_G = grouped(values_UM)
    return {
        f"{PREFIX}{SID}_{kind}@{k}_{view}_{end}": value
        for (kind, k), interval in zip(names, mean_intervals(values_GM, size_G), strict=True)
        for end, value in (("low", interval.low), ("high", interval.high))
    }


def _of_users(values_Q: FloatArray, user_Q: LongArray, n_users: int) -> FloatArray:
    """(n_users,) mean over the queries of each user."""
    mean: FloatArray = np.bincount(user_Q, weights=values_Q, minlength=n_users) / np.bincount(user_Q, minlength=n_users)
    return mean


def _first_of_its_value(values_BK: LongArray) -> BoolArray:
    """(B, K) whether a value stands nowhere before in its row."""
    order = np.argsort(values_BK.astype(np.int32), axis=1, kind="stable")
    ordered = np.take_along_axis(values_BK, order, axis=1)
    is_new = np.ones(ordered.shape, dtype=np.bool_)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    is_first = np.empty_like(is_new)
    np.put_along_axis(is_first, order, is_new, axis=1)
    return is_first


def _place_in_group(group_N: LongArray) -> LongArray:
    """(N,) how many items of the same group stand in smaller rows."""
    order = np.argsort(group_N, kind="stable")
    start_C = np.append(0, np.cumsum(np.bincount(group_N)))
    place = np.empty(len(group_N), dtype=np.int64)
    place[order] = np.arange(len(group_N)) - start_C[group_N[order]]
    return place


class _LeftOut:
    """The items of each query that may not be recommended, counted by their codes; none where there are no histories."""

    def __init__(self, histories: Histories | None, group_N: LongArray, n_codes: int) -> None:
        self._n_codes, self._n_items, self._group_N = n_codes, len(group_N), group_N
        pairs = np.empty(0, np.int64) if histories is None else histories.row_of_entry() * self._n_items + histories.item
        query, item = np.divmod(_distinct(pairs)[0], self._n_items)
        self._code, self._count = _distinct(query * n_codes + group_N[item])
        # Sorted by query, then code, then item.
        self._by_code = np.sort((query * n_codes + group_N[item]) * self._n_items + item)

    def of(self, query: LongArray, code: LongArray) -> LongArray:
        """How many items of a code each query leaves out."""
        asked = query * self._n_codes + code
        count = np.zeros(len(asked), np.int64)
        if len(self._code):
            place = np.minimum(np.searchsorted(self._code, asked), len(self._code) - 1)
            is_there = self._code[place] == asked
            count[is_there] = self._count[place[is_there]]
        return count

    def before(self, query: LongArray, item: LongArray) -> LongArray:
        """How many items of an item's code, in smaller rows than its own, each query leaves out."""
        first = self._first(query, item)
        count: LongArray = np.searchsorted(self._by_code, first + item) - np.searchsorted(self._by_code, first)
        return count

    def holds(self, query: LongArray, item: LongArray) -> BoolArray:
        """Whether each query leaves an item out."""
        return entries_in(self._first(query, item) + item, self._by_code)

    def _first(self, query: LongArray, item: LongArray) -> LongArray:
        return (query * self._n_codes + self._group_N[item]) * self._n_items


def _distinct(values: LongArray) -> tuple[LongArray, LongArray]:
    """Distinct values, sorted, and how often each occurs."""
    ordered = np.sort(values)
    start = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[start], np.diff(np.append(start, len(ordered)))
