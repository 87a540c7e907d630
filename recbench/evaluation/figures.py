"""Ranks, facts and exposure to all figures of a record. The run and `verify` both come through here."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recbench.core.ragged import LongArray
from recbench.core.ranking import View
from recbench.core.records import Interval, SlicePart
from recbench.evaluation.exposure import Background, Exposure
from recbench.evaluation.facts import TargetFacts
from recbench.evaluation.intervals import grouped, mean_intervals, user_intervals
from recbench.evaluation.measures import Measures
from recbench.evaluation.rank_table import MISS, RankTable
from recbench.evaluation.slices import Group
from recbench.evaluation.sum_law import FloatArray
from recbench.evaluation.user_values import same_targets, values_of_view, values_per_user


@dataclass(frozen=True)
class Evaluation:
    """Figures of quality, as a record keeps them.

    Attributes:
        metrics: per view and metric the mean over users with its interval.
        slices: the same for groups of targets; groups without a target are left out.
        beyond: per view the figures beyond accuracy.
    """

    metrics: dict[View, dict[str, Interval]]
    slices: list[SlicePart]
    beyond: dict[View, dict[str, float]]


def evaluate(ranks: RankTable, facts: TargetFacts, exposure: Exposure, train_count: LongArray, measures: Measures) -> Evaluation:
    """All figures that follow from the ranks; equal arguments give equal digits.

    Args:
        ranks: where the targets stand.
        facts: about the same targets, row by row.
        exposure: how often each item is shown.
        train_count: (n_items,) occurrences in the train part.
        measures: the figures asked for.

    Raises:
        SplitMismatch: the tables are about different targets or catalogues.
    """
    return Evaluator(facts, train_count, measures).evaluate(ranks, exposure)


class Evaluator:
    """Evaluates any number of runs on one test part; what they have in common is worked out once, and no run changes it."""

    def __init__(self, facts: TargetFacts, train_count: LongArray, measures: Measures) -> None:
        """Arguments as for `evaluate`."""
        self.facts = facts
        self._train_count = train_count
        self._measures = measures
        self._cluster = None if measures.cluster is None else facts.of_task.get(measures.cluster)
        self._values_of_rank: dict[tuple[int, tuple[str, ...]], FloatArray] = {}

    @cached_property
    def _groups(self) -> list[tuple[Group, LongArray]]:
        """The groups of targets, each with the numbers of its rows."""
        return [(group, np.flatnonzero(group.rows)) for group in self._measures.groups(self.facts)]

    @cached_property
    def _background(self) -> Background:
        return Background(self.facts, self._train_count)

    def evaluate(self, ranks: RankTable, exposure: Exposure) -> Evaluation:
        """The figures of one run.

        Raises:
            SplitMismatch: its tables are about other targets or another catalogue.
        """
        same_targets(ranks, self.facts)
        has_sets = len(ranks) > ranks.n_users and not ranks.has_single_targets
        names = self._measures.names(ranks.list_length, has_sets=has_sets)
        slice_names = tuple(name for name in self._measures.of_slices if name in names)
        metrics = {view: self._means(ranks, view, names, self._cluster) for view in ranks.views} if len(ranks) else {}
        parts = []
        for group, rows in self._groups if slice_names else ():
            part = ranks.take(rows)
            cluster = None if self._cluster is None else self._cluster[rows]
            for view in ranks.views:
                means = self._means(part, view, slice_names, cluster)
                parts.append(SlicePart(slice=group.slice, group=group.name, view=view, n=part.n_users, metrics=means))
        return Evaluation(metrics, parts, self._background.beyond_accuracy(exposure))

    def _means(self, ranks: RankTable, view: View, names: tuple[str, ...], cluster: LongArray | None) -> dict[str, Interval]:
        """Means over the users of a table; `cluster` has one number per row of it."""
        if cluster is not None:
            found = user_intervals(values_of_view(ranks, view, names), cluster[ranks.offsets[:-1]])
        elif len(ranks) > ranks.n_users:
            found = mean_intervals(*grouped(values_of_view(ranks, view, names)))
        else:
            sizes = np.bincount(ranks.rank[view] - MISS, minlength=ranks.list_length - MISS)
            is_there = sizes > 0
            found = mean_intervals(self._of_ranks(ranks.list_length, names)[is_there], sizes[is_there])
        return dict(zip(names, found, strict=True))

    def _of_ranks(self, list_length: int, names: tuple[str, ...]) -> FloatArray:
        """What a user with a single target has, whose rank is a miss, 0, 1 and so on, (list_length + 1, M)."""
        key = list_length, names
        if key not in self._values_of_rank:
            ranks = np.arange(MISS, list_length, dtype=np.int16)
            self._values_of_rank[key] = values_per_user(ranks, np.arange(len(ranks) + 1, dtype=np.int64), names)
        return self._values_of_rank[key]
