"""Ranks, facts and exposure to all figures of a record. The run and `verify` both come through here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from recbench.core.ragged import LongArray
from recbench.core.ranking import View
from recbench.core.records import Interval, SlicePart
from recbench.core.seeds import frozen_generator
from recbench.evaluation.exposure import Exposure, beyond_accuracy
from recbench.evaluation.intervals import bootstrap_means, cluster_means, grouped
from recbench.evaluation.metrics import METRICS
from recbench.evaluation.rank_table import RankTable
from recbench.evaluation.slices import Group
from recbench.evaluation.target_facts import TargetFacts
from recbench.evaluation.user_values import same_targets, values_of_view, values_per_user

BOOTSTRAP_SEED = 0
"""Fixed, and apart from the run's seed: the same ranks always have the same intervals."""


@dataclass(frozen=True)
class Measures:
    """The figures that a task asks for.

    Attributes:
        kinds: metrics, such as `ndcg`, in the order of a record.
        cutoffs: numbers of places that each looks at.
        of_slices: metrics, such as `ndcg@10`, of groups of targets.
        groups: the groups, each with a target at least.
        cluster: fact of the task (`TargetFacts.of_task`) that is equal for users who are not independent of each other; they are resampled
            together where a split knows it. None: all users are independent.
    """

    kinds: tuple[str, ...]
    cutoffs: tuple[int, ...]
    of_slices: tuple[str, ...]
    groups: Callable[[TargetFacts], Iterable[Group]]
    cluster: str | None = None

    def cluster_of_users(self, facts: TargetFacts, ranks: RankTable) -> LongArray | None:
        """A number per user of the table, (n_users,), equal for users who are resampled together; None where all are independent."""
        fact = None if self.cluster is None else facts.of_task.get(self.cluster)
        return None if fact is None else fact[ranks.offsets[:-1]]

    def names(self, list_length: int, *, has_sets: bool) -> tuple[str, ...]:
        """The metrics that lists of this length allow; those of sets only where some user has several targets."""
        kinds = [kind for kind in self.kinds if has_sets or not METRICS.parse(f"{kind}@1")[0].needs_sets]
        return tuple(f"{kind}@{k}" for kind in kinds for k in self.cutoffs if k <= list_length)


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
    same_targets(ranks, facts)
    has_sets = len(ranks) > ranks.n_users and not ranks.has_single_targets
    names = measures.names(ranks.list_length, has_sets=has_sets)
    cluster = facts.of_task.get(measures.cluster) if measures.cluster is not None else None
    metrics = {view: _intervals(ranks, view, names, "all", cluster) for view in ranks.views} if len(ranks) else {}
    slice_names = tuple(name for name in measures.of_slices if name in names)
    slices = [
        SlicePart(slice=group.slice, group=group.name, view=view, n=part.n_users, metrics=part_metrics)
        for group in measures.groups(facts)
        for part in [ranks.take(group.rows)]
        for view in ranks.views
        for part_cluster in [None if cluster is None else cluster[group.rows]]
        if (part_metrics := _intervals(part, view, slice_names, f"{group.slice}/{group.name}", part_cluster))
    ]
    return Evaluation(metrics, slices, beyond_accuracy(exposure, facts, train_count))


def _intervals(ranks: RankTable, view: View, names: tuple[str, ...], stream: str, cluster: LongArray | None = None) -> dict[str, Interval]:
    """Means with their intervals; `cluster` has one number per row of the table."""
    if not names:
        return {}
    if cluster is not None:
        drawn = frozen_generator(BOOTSTRAP_SEED, "bootstrap", stream, view)
        of_clusters = cluster_means(values_of_view(ranks, view, names), cluster[ranks.offsets[:-1]], drawn)
        return dict(zip(names, of_clusters, strict=True))
    if len(ranks) == ranks.n_users:
        distinct, sizes = np.unique(ranks.rank[view], return_counts=True)
        values = values_per_user(distinct, np.arange(len(distinct) + 1, dtype=np.int64), names)
        sizes = sizes.astype(np.int64)
    else:
        values, sizes = grouped(values_of_view(ranks, view, names))
    intervals = bootstrap_means(values, sizes, frozen_generator(BOOTSTRAP_SEED, "bootstrap", stream, view))
    return dict(zip(names, intervals, strict=True))
