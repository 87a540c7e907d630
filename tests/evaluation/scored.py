"""Score matrices, the rankings that follow from them, and a slow plain-Python reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core import Histories, Interactions, Queries, Rankings, Targets, TimeKind, View


@dataclass(frozen=True)
class Scored:
    """B users with a history and a target set each, and the score of every item."""

    scores: NDArray[np.float32]
    histories: Histories
    targets: Targets

    @property
    def n_items(self) -> int:
        return int(self.scores.shape[1])

    def queries(self, views: tuple[View, ...] = ("keep", "unseen")) -> Queries:
        n = len(self.histories)
        return Queries(self.histories, np.arange(n, dtype=np.int32), np.array([f"U{row}" for row in range(n)], dtype=object), views)

    def rankings(self, k: int, views: tuple[View, ...] = ("keep", "unseen")) -> Rankings:
        return ranked(self.scores, self.histories, k, views)

    def train(self) -> Interactions:
        """The histories as a train part."""
        h = self.histories
        return Interactions(h.item, h.offsets, np.zeros(len(h.item), np.int64), self.n_items, TimeKind.NONE)


def ranked(scores: NDArray[np.float32], histories: Histories, k: int, views: tuple[View, ...]) -> Rankings:
    """The k best items of each row; equal scores: smaller row first."""
    items, kept = [], []
    for view in views:
        shown = scores.copy()
        if view == "unseen":
            shown[histories.row_of_entry(), histories.item] = -np.inf
        order = np.argsort(-shown, axis=1, kind="stable")[:, :k].astype(np.int32)
        best = np.take_along_axis(shown, order, axis=1)
        order[np.isneginf(best)] = -1
        missing = k - order.shape[1]
        items.append(np.pad(order, ((0, 0), (0, max(missing, 0))), constant_values=-1))
        kept.append(np.pad(best, ((0, 0), (0, max(missing, 0))), constant_values=-np.inf))
    return Rankings(views, np.stack(items), np.stack(kept).astype(np.float32))


def random_scored(rng: np.random.Generator, *, n_users: int = 9, n_items: int = 30, levels: int = 12, largest_set: int = 1) -> Scored:
    """Scores with many ties; targets may stand in the history."""
    scores = rng.integers(0, levels, size=(n_users, n_items)).astype(np.float32)
    histories = Histories.from_lists([rng.integers(0, n_items, size=rng.integers(0, 7)).tolist() for _ in range(n_users)])
    targets = Targets.from_lists([rng.permutation(n_items)[: rng.integers(1, largest_set + 1)].tolist() for _ in range(n_users)])
    return Scored(scores, histories, targets)


def slow_list(scores: Sequence[float], history: Sequence[int], view: View, k: int) -> list[int]:
    """The ranking of one user, by sorting pairs."""
    candidates = [item for item in range(len(scores)) if view == "keep" or item not in history]
    return sorted(candidates, key=lambda item: (-scores[item], item))[:k]


def slow_metric(name: str, ranking: Sequence[int], targets: Sequence[int]) -> float:
    """One metric of one user, from the definition."""
    kind, _, cutoff = name.partition("@")
    hits = [place for place, item in enumerate(ranking[: int(cutoff)], start=1) if item in targets]
    if kind == "recall":
        return len(hits) / len(targets)
    if kind == "hit_rate":
        return 1.0 if hits else 0.0
    if kind == "mrr":
        return 1 / hits[0] if hits else 0.0
    ideal = sum(1 / math.log2(1 + place) for place in range(1, min(int(cutoff), len(targets)) + 1))
    return sum(1 / math.log2(1 + place) for place in hits) / ideal
