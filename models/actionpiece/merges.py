"""Which tokens are merged: the pair of the largest total weight, again and again."""

import numpy as np

from recbench.core import Interactions
from recbench.core.progress import Progress
from recbench.core.ragged import IntArray, LongArray
from recbench_models.actionpiece.chains import Chains, pair_tokens
from recbench_models.actionpiece.vocabulary import Vocabulary

# P pairs


class PairTotals:
    """Total weights by pair, kept sorted by pair in arrays that have room to grow."""

    def __init__(self) -> None:
        self._pair = np.empty(0, dtype=np.int64)
        self._total = np.empty(0, dtype=np.int64)
        self._n = 0

    def add(self, pair_P: LongArray, weight_P: LongArray) -> None:
        """Add weights, which may be below 0, to the totals of pairs, which may repeat."""
        order = np.argsort(pair_P, kind="stable")
        pair_P, weight_P = pair_P[order], weight_P[order]
        start = np.flatnonzero(np.diff(pair_P, prepend=-1))
        if not len(start):
            return
        pair, weight = pair_P[start], np.add.reduceat(weight_P, start)
        known = self._pair[: self._n]
        place = np.searchsorted(known, pair)
        is_known = np.zeros(len(pair), dtype=bool)
        within = place < self._n
        is_known[within] = known[place[within]] == pair[within]
        self._total[place[is_known]] += weight[is_known]
        is_new = ~is_known & (weight != 0)
        if is_new.any():
            self._insert(pair[is_new], weight[is_new])

    def best(self) -> tuple[int, int]:
        """The pair of the largest total, of equal ones the smallest, and that total; (0, 0) where there is none."""
        if not self._n:
            return 0, 0
        place = int(self._total[: self._n].argmax())
        return int(self._pair[place]), int(self._total[place])

    def _insert(self, pair: LongArray, total: LongArray) -> None:
        """Pairs that are not there yet, ascending. Those with a new token are larger than all others and go behind them."""
        end = self._n + len(pair)
        if end > len(self._pair) or (self._n and pair[0] < self._pair[self._n - 1]):
            kept = np.flatnonzero(self._total[: self._n])
            pairs, totals = np.concatenate([self._pair[kept], pair]), np.concatenate([self._total[kept], total])
            order = np.argsort(pairs, kind="stable")
            self._n = len(order)
            self._pair, self._total = np.empty(2 * self._n, np.int64), np.empty(2 * self._n, np.int64)
            self._pair[: self._n], self._total[: self._n] = pairs[order], totals[order]
            return
        self._pair[self._n : end], self._total[self._n : end] = pair, total
        self._n = end


def learn_vocabulary(
    feature_IF: IntArray, sizes: tuple[int, ...], train: Interactions, *, size: int, across_items: bool, progress: Progress
) -> Vocabulary:
    """The vocabulary of a train part: merges until it has `size` tokens, or until no two tokens are neighbours.

    Args:
        feature_IF: (I, F) features of all items, as tokens.
        sizes: how many values each feature has.
        train: the sequences whose neighbouring tokens are weighed.
        size: of the vocabulary.
        across_items: whether tokens of neighbouring items are merged too.
        progress: shows how many tokens there are.
    """
    n_values = sum(sizes)
    chains, totals = Chains(feature_IF, n_values, train, across_items=across_items), PairTotals()
    for part in chains.all_weights():
        totals.add(*part)
    parts: list[tuple[int, int]] = []
    priority: list[float] = []
    with progress.task("vocabulary", max(size - n_values, 0)) as task:
        while n_values + len(parts) < size:
            pair, total = totals.best()
            if total <= 0:
                break
            larger, smaller = pair_tokens(pair)
            totals.add(*chains.merge(larger, smaller, n_values + len(parts)))
            parts.append((larger, smaller))
            priority.append(total / chains.scale)
            task.advance()
    return Vocabulary(np.array(sizes, dtype=np.int32), feature_IF, np.array(parts, dtype=np.int32).reshape(-1, 2), np.array(priority))
