"""Ranks to one value per user: recall, hit rate, NDCG, MRR at 5, 10, 20, 50.

With one target per user (baselines.md, 6.7) recall is 1 if the target stands among the first k, NDCG is 1 / log2(1 + place),
MRR 1 / place, places from 1. With a set of targets recall divides by the number of targets, the hit rate asks for any of them,
NDCG divides by the best possible value of min(k, number of targets), MRR looks at the first hit. A user who is asked several times,
for one target each, has the mean over the queries.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadRequest, SplitMismatch
from recbench.core.ragged import LongArray
from recbench.core.ranking import View
from recbench.evaluation.rank_table import RankTable, ShortArray
from recbench.evaluation.target_facts import TargetFacts

FloatArray = NDArray[np.float64]

CUTOFFS = (5, 10, 20, 50)
MAIN_METRIC = "ndcg@10"
_NAME = re.compile(r"(recall|hit_rate|ndcg|mrr)@([1-9]\d*)")


def metric_names(list_length: int, *, has_sets: bool) -> tuple[str, ...]:
    """The metrics that lists of this length allow; the hit rate only where some user has several targets."""
    kinds = ("recall", "hit_rate", "ndcg", "mrr") if has_sets else ("recall", "ndcg", "mrr")
    return tuple(f"{kind}@{k}" for kind in kinds for k in CUTOFFS if k <= list_length)


def parse_metric(name: str) -> tuple[str, int]:
    """`ndcg@10` as ("ndcg", 10); anything else is a `BadRequest`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadRequest(f"There is no metric {name!r}. Known: recall, hit_rate, ndcg, mrr, each with @ and a place, such as ndcg@10.")
    return match[1], int(match[2])


@lru_cache
def discounts(n: int) -> FloatArray:
    """1 / log2(1 + place) for places 1 to n, (n,) float64."""
    # math.log2 and not np.log2: NumPy's answer depends on the vector instructions of the machine.
    values = np.array([1.0 / math.log2(place + 1) for place in range(1, n + 1)], dtype=np.float64)
    values.setflags(write=False)
    return values


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
        kind, k = parse_metric(name)
        values[:, column] = _metric(kind, k, rank, offsets, n_targets)
    return values


def values_of_view(ranks: RankTable, view: View, metrics: Sequence[str]) -> FloatArray:
    """One row per user of a table, one column per metric, (n_users, n_metrics) float64; a mean over queries where a user has several."""
    if not ranks.has_single_targets or not len(ranks):
        return values_per_user(ranks.rank[view], ranks.offsets, metrics)
    values_QM = values_per_user(ranks.rank[view], np.arange(len(ranks) + 1, dtype=np.int64), metrics)
    mean_UM: FloatArray = np.add.reduceat(values_QM, ranks.offsets[:-1], axis=0) / np.diff(ranks.offsets)[:, None]
    return mean_UM


def _metric(kind: str, k: int, rank: ShortArray, offsets: LongArray, n_targets: LongArray) -> FloatArray:
    if len(n_targets) == 0:
        return np.empty(0, dtype=np.float64)
    starts = offsets[:-1]
    if kind in {"recall", "hit_rate"}:
        hits = np.add.reduceat(((rank >= 0) & (rank < k)).astype(np.int64), starts)
        return hits / n_targets if kind == "recall" else (hits > 0).astype(np.float64)
    if kind == "ndcg":
        gains = np.add.reduceat(_at_rank(discounts(k), rank), starts)
        ideal = np.cumsum(discounts(k))
        normalised: FloatArray = gains / ideal[np.minimum(n_targets, k) - 1]
        return normalised
    reciprocal = 1.0 / np.arange(1, k + 1)
    best: FloatArray = np.maximum.reduceat(_at_rank(reciprocal, rank), starts)
    return best


def _at_rank(value_of_place: FloatArray, rank: ShortArray) -> FloatArray:
    """`value_of_place[rank]`, 0 for a miss and for places behind the last one."""
    k = len(value_of_place)
    padded = np.append(value_of_place, 0.0)
    values: FloatArray = padded[np.where((rank < 0) | (rank >= k), k, rank)]
    return values


def per_user(ranks: RankTable, facts: TargetFacts, metric: str, view: View) -> FloatArray:
    """One metric for every user, in the order of the table, (n_users,) float64.

    Raises:
        BadRequest: no such metric or view, or a place behind the end of the lists.
        SplitMismatch: the ranks and the facts are about different targets.
    """
    same_targets(ranks, facts)
    _, k = parse_metric(metric)
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
