"""Ranks to one value per user and metric.

A user who is asked several times, for one target each, has the mean over the queries.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadRequest, SplitMismatch
from recbench.core.ragged import LongArray
from recbench.core.ranking import View
from recbench.evaluation.facts import TargetFacts
from recbench.evaluation.metrics import METRICS
from recbench.evaluation.rank_table import RankTable, ShortArray

FloatArray = NDArray[np.float64]


def values_per_user(rank: ShortArray, offsets: LongArray, metrics: Sequence[str]) -> FloatArray:
    """One row per user, one column per metric, (n_users, n_metrics) float64.

    Args:
        rank: (R,) ranks of all targets, 0 is best, -1 a miss.
        offsets: (n_users + 1,); user u's targets are the rows `offsets[u]` up to `offsets[u + 1]`.
        metrics: names such as `ndcg@10`.

    Raises:
        ValueError: a user without a target, for whom no metric is defined.
    """
    n_targets = np.diff(offsets)
    if (n_targets < 1).any():
        raise ValueError(f"user {int((n_targets < 1).argmax())} of the table has no target; leave users without targets out")
    values = np.empty((len(n_targets), len(metrics)), dtype=np.float64)
    for column, name in enumerate(metrics):
        metric, k = METRICS.parse(name)
        values[:, column] = metric.of_queries(rank, offsets, k) if len(n_targets) else ()
    return values


def values_of_view(ranks: RankTable, view: View, metrics: Sequence[str]) -> FloatArray:
    """One row per user of a table, one column per metric, (n_users, n_metrics) float64; a mean over queries where a user has several."""
    if not ranks.has_single_targets or not len(ranks):
        return values_per_user(ranks.rank[view], ranks.offsets, metrics)
    values_QM = values_per_user(ranks.rank[view], np.arange(len(ranks) + 1, dtype=np.int64), metrics)
    mean_UM: FloatArray = np.add.reduceat(values_QM, ranks.offsets[:-1], axis=0) / np.diff(ranks.offsets)[:, None]
    return mean_UM


def per_user(ranks: RankTable, facts: TargetFacts, metric: str, view: View) -> FloatArray:
    """One metric for every user, in the order of the table, (n_users,) float64.

    Raises:
        BadRequest: no such metric or view, or a place behind the end of the lists.
        SplitMismatch: the ranks and the facts are about different targets.
    """
    same_targets(ranks, facts)
    _, k = METRICS.parse(metric)
    if k > ranks.list_length:
        raise BadRequest(f"{metric} is not defined for lists of {ranks.list_length}. Ask for a smaller place.")
    if view not in ranks.rank:
        raise BadRequest(f"View {view!r} was not ranked; there is {', '.join(ranks.views)}. Run it again with --seen both.")
    return values_of_view(ranks, view, [metric])[:, 0]


def same_targets(ranks: RankTable, facts: TargetFacts) -> None:
    """Nothing, if both tables have the same rows; else a `SplitMismatch` that names the first difference."""
    if len(ranks) != len(facts):
        raise SplitMismatch(
            f"The ranks have {len(ranks)} targets, the facts {len(facts)}: they belong to different splits. Use the files of one record."
        )
    differs = (ranks.user != facts.user) | (ranks.target != facts.target)
    if differs.any():
        row = int(differs.argmax())
        raise SplitMismatch(
            f"Row {row} is about user {ranks.user[row]} and item {ranks.target[row]} in the ranks, about user {facts.user[row]} and "
            f"item {facts.target[row]} in the facts: they belong to different splits. Use the files of one record."
        )
