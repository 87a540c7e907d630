"""Is A better than B, or is it luck? Paired tests over users, with seeds where there are several (baselines.md, 6.14).

Users are the same for both models, so everything works on differences per user. Nothing is drawn: intervals are those of infinitely many
resamples (see `intervals`), p-values those of all signs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import SplitMismatch
from recbench.core.records import Interval
from recbench.evaluation.intervals import cluster_sums, seed_interval, user_intervals
from recbench.evaluation.sign_flips import chance_as_far

FloatArray = NDArray[np.float64]

STANDARD_ERRORS_FOR_POWER = 2.8
"""1.96 + 0.84: five per cent two-sided, eighty per cent power."""


@dataclass(frozen=True)
class PairedComparison:
    """The best row of a board against one other.

    Attributes:
        best, other: names of the rows.
        difference: mean of best - other over users and seeds with its 95 % interval: over users, and over seeds where there are several.
        p: of the sign-flip test over users.
        p_holm: `p` after Holm's correction for all comparisons of the board.
        minimum_detectable: the smallest difference that this many users would show in four of five cases.
        n_users: how many users both rows have.
        seeds_best, seeds_other: how many seeds stand behind each row; 1 says nothing about training anew.
    """

    best: str
    other: str
    difference: Interval
    p: float
    p_holm: float
    minimum_detectable: float
    n_users: int
    seeds_best: int
    seeds_other: int


def mean_interval(values: FloatArray, *, cluster: NDArray[np.integer] | None = None) -> Interval:
    """Mean over users of a metric with its 95 % percentile interval, as records have it.

    Args:
        values: (n,) value of each user.
        cluster: as for `paired_bootstrap`.
    """
    return user_intervals(values[:, None], cluster)[0]


def paired_bootstrap(a: FloatArray, b: FloatArray, *, cluster: NDArray[np.integer] | None = None) -> Interval:
    """Mean of a - b over users with its 95 % percentile interval.

    Args:
        a: (n,) value of each user under model A.
        b: (n,) value of the same users under model B.
        cluster: (n,) equal for users who are not independent of each other and are drawn together; None: all are independent.

    Raises:
        SplitMismatch: not the same number of users, or none at all.
    """
    difference = _per_seed(a)[0] - _per_seed(b, like=a)[0]
    return mean_interval(difference, cluster=cluster)


def two_level_bootstrap(a: FloatArray, b: FloatArray, *, cluster: NDArray[np.integer] | None = None) -> Interval:
    """Mean of a - b over seeds and users with a 95 % interval that counts both as drawn by chance.

    Each resample draws seeds of A, seeds of B (apart: seed 1 of one has nothing to do with seed 1 of the other) and the users,
    the same users for all seeds.

    Args:
        a: (S, n) or (n,) value of each user under each seed of model A.
        b: (T, n) or (n,) the same for model B.
        cluster: as for `paired_bootstrap`.

    Raises:
        SplitMismatch: not the same number of users, or none at all.
    """
    return seed_interval(_per_seed(a), _per_seed(b, like=a), cluster)


def sign_flip_test(a: FloatArray, b: FloatArray, *, cluster: NDArray[np.integer] | None = None) -> float:
    """Two-sided p-value of "A and B are exchangeable for every user".

    Under it each user's difference could as well have the other sign. The p-value is the share of all signs that give a mean at least as
    far from 0 as the one seen. It is never below `sign_flips.SMALLEST_P`; without any difference it is 1.

    Args:
        a: (n,) or (S, n) values under model A; several seeds are averaged per user first.
        b: the same for model B.
        cluster: (n,) equal for users whose differences change sign together; None: each by itself.

    Raises:
        SplitMismatch: not the same number of users, or none at all.
    """
    difference = _mean_difference(a, b)
    if cluster is not None:
        difference = cluster_sums(difference[:, None], cluster)[:, 0]
    sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    return chance_as_far(sizes, counts, math.fsum(difference.tolist()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: reject those below 0.05 and the chance of any false one stays below 0.05."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def minimum_detectable_difference(a: FloatArray, b: FloatArray, cluster: NDArray[np.integer] | None = None) -> float:
    """The smallest mean difference that a paired test of these users finds with 80 % power: 2.8 standard errors.

    Several seeds are averaged per user first. 0 for a single user, or a single cluster of users, whose spread is unknown.
    """
    difference = _mean_difference(a, b)
    if cluster is not None:
        return STANDARD_ERRORS_FOR_POWER * _cluster_error(difference, cluster)
    if len(difference) < 2:
        return 0.0
    residual = difference - math.fsum(difference.tolist()) / len(difference)
    variance = math.fsum((residual**2).tolist()) / (len(difference) - 1)
    return STANDARD_ERRORS_FOR_POWER * math.sqrt(variance / len(difference))


def _cluster_error(difference_U: FloatArray, cluster_U: NDArray[np.integer]) -> float:
    """Standard error of the mean over users whose clusters are independent; 0 for a single cluster."""
    sums_C2 = cluster_sums(difference_U[:, None], cluster_U)
    n = len(sums_C2)
    if n < 2:
        return 0.0
    residual_C = sums_C2[:, 0] - sums_C2[:, 1] * difference_U.mean()
    return math.sqrt(n / (n - 1) * math.fsum((residual_C**2).tolist())) / len(difference_U)


@dataclass(frozen=True)
class Tested:
    """What paired tests say about two rows; attributes as those of `PairedComparison`."""

    difference: Interval
    p: float
    minimum_detectable: float
    n_users: int
    seeds_best: int
    seeds_other: int


def paired_tests(best: FloatArray, other: FloatArray, *, cluster: NDArray[np.integer] | None = None) -> Tested:
    """All tests of `best` against `other`, (n,) or (S, n) each; `cluster` as for `paired_bootstrap`.

    Raises:
        SplitMismatch: not the same number of users, or none at all.
    """
    a_SU, b_TU = _per_seed(best), _per_seed(other, like=best)
    return Tested(
        difference=two_level_bootstrap(a_SU, b_TU, cluster=cluster),
        p=sign_flip_test(a_SU, b_TU, cluster=cluster),
        minimum_detectable=minimum_detectable_difference(a_SU, b_TU, cluster),
        n_users=a_SU.shape[1],
        seeds_best=len(a_SU),
        seeds_other=len(b_TU),
    )


def compare_with_best(rows: Mapping[str, FloatArray], *, cluster: NDArray[np.integer] | None = None) -> list[PairedComparison]:
    """The row with the highest mean against each other row, in falling order of their means.

    Args:
        rows: name of a row -> values of the users, (n,) for one seed, (S, n) for several; the same users in the same order in all.
            Rows with equal means are ordered by name.
        cluster: as for `paired_bootstrap`.

    Raises:
        SplitMismatch: rows of different numbers of users.
    """
    if not rows:
        return []
    per_seed: dict[str, FloatArray] = {}
    for name, values in rows.items():
        per_seed[name] = _per_seed(values, like=next(iter(rows.values())), name=name)
    best, *others = by_mean({name: exact_mean(values) for name, values in per_seed.items()})
    return comparisons(best, [(other, paired_tests(per_seed[best], per_seed[other], cluster=cluster)) for other in others])


def exact_mean(values: FloatArray) -> float:
    """Mean over users and seeds; rows are put in order by it, so that no order of adding up may matter."""
    return math.fsum(values.ravel().tolist()) / values.size


def by_mean(means: Mapping[str, float]) -> list[str]:
    """Names of rows in falling order of their means; equal ones by name."""
    return sorted(means, key=lambda name: (-means[name], name))


def comparisons(best: str, tested: Sequence[tuple[str, Tested]]) -> list[PairedComparison]:
    """What tests of `best` against other rows, by name, say together: Holm's correction counts all of them."""
    adjusted = holm([found.p for _, found in tested])
    return [
        PairedComparison(
            best=best,
            other=other,
            difference=found.difference,
            p=found.p,
            p_holm=p_holm,
            minimum_detectable=found.minimum_detectable,
            n_users=found.n_users,
            seeds_best=found.seeds_best,
            seeds_other=found.seeds_other,
        )
        for (other, found), p_holm in zip(tested, adjusted, strict=True)
    ]


def _mean_difference(a: FloatArray, b: FloatArray) -> FloatArray:
    """Each user's a - b, averaged over the seeds of each side, (n,)."""
    mean: FloatArray = _per_seed(a).mean(axis=0) - _per_seed(b, like=a).mean(axis=0)
    return mean


def _per_seed(values: FloatArray, *, like: FloatArray | None = None, name: str = "") -> FloatArray:
    """As (seeds, users); the number of users must be that of `like`."""
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    row = f"row {name!r}" if name else "one side"
    if rows.ndim != 2 or rows.size == 0:
        raise SplitMismatch(
            f"A comparison needs values of users, (users,) or (seeds, users); {row} has shape {rows.shape}. Check the runs."
        )
    if like is not None and rows.shape[1] != np.shape(like)[-1]:
        raise SplitMismatch(
            f"A comparison needs the same users: {row} has {rows.shape[1]}, another {np.shape(like)[-1]}. Compare runs of one split."
        )
    return rows
