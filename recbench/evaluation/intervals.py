"""Bootstrap over users: the interval of a mean if the users had been drawn anew.

The percentile interval of infinitely many resamples, the ideal bootstrap (Efron and Tibshirani 1993, section 6.4), is computed from the
distribution of the mean itself (`sums_of_draws`): no draws, no seed, no error of chance. Users whose values cannot be told apart are
counted, not listed: with one target each there are at most as many groups as ranks. Means are added up in a fixed order, without BLAS,
so that equal ranks give equal digits on every machine; ends of intervals agree to a billionth.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray
from recbench.core.records import Interval
from recbench.evaluation.sums_of_draws import PLACES, Mixtures, SumsOfDraws, first_bounds

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
TAILS = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
_FEW = 6
"""Clusters whose draws are all gone through."""
_RUNNING_SUMS, _LONGEST_RUN = 8, 128
"""How NumPy adds up a row of numbers: so many running sums side by side, and rows longer than a run in two halves. Published figures
were added up so; another order gives other last digits."""


def grouped(values_UM: FloatArray) -> tuple[FloatArray, LongArray]:
    """Distinct rows in sorted order (G, M), and how many users have each (G,)."""
    if values_UM.shape[1] == 1:
        column, sizes = np.unique(values_UM[:, 0], return_counts=True)
        return column[:, None], sizes.astype(np.int64)
    rows, sizes = np.unique(values_UM, axis=0, return_counts=True)
    return rows, sizes.astype(np.int64)


def sums(sizes_GB: NDArray[np.integer], values_GM: FloatArray) -> FloatArray:
    """Sum over the groups of size times value, (M, B), in a fixed order; groups behind the last row of `sizes_GB` must have the value 0."""
    counted_GB = sizes_GB.astype(np.float64)
    total_MB = np.empty((values_GM.shape[1], counted_GB.shape[1]))
    for total_B, value_G in zip(total_MB, values_GM.T, strict=True):
        total_B[:] = _sum_of_run(counted_GB, value_G, 0, len(value_G))
    return total_MB


def _sum_of_run(sizes_GB: FloatArray, value_G: FloatArray, first: int, end: int) -> FloatArray:
    """The sum over the groups from `first` to `end`; what is 0 is passed over, which changes no digit."""
    if end - first > _LONGEST_RUN:
        half = first + (end - first) // 2 // _RUNNING_SUMS * _RUNNING_SUMS
        return _sum_of_run(sizes_GB, value_G, first, half) + _sum_of_run(sizes_GB, value_G, half, end)
    n_side_by_side = (end - first) // _RUNNING_SUMS * _RUNNING_SUMS
    running = np.zeros((_RUNNING_SUMS, sizes_GB.shape[1]))
    rest = []
    for place in np.flatnonzero(value_G[first:end]).tolist():
        part = sizes_GB[first + place] * value_G[first + place]
        if place < n_side_by_side:
            running[place % _RUNNING_SUMS] += part
        else:
            rest.append(part)
    pairs = running[0::2] + running[1::2]
    total: FloatArray = (pairs[0] + pairs[1]) + (pairs[2] + pairs[3])
    for part in rest:
        total += part
    return total


def mean_intervals(tables: Sequence[tuple[FloatArray, LongArray]]) -> list[list[Interval]]:
    """Means over users of each table's metrics with their 95 % intervals.

    Args:
        tables: what the users of each group have (G, M), as from `grouped`, and how many users each group has (G,).
    """
    means = [sums(sizes_G[:, None], values_GM)[:, 0] / int(sizes_G.sum()) for values_GM, sizes_G in tables]
    columns = [_held(value_G, sizes_G) for values_GM, sizes_G in tables for value_G in values_GM.T]
    ends = iter(SumsOfDraws(columns).mean_quantiles(TAILS).tolist() if columns else ())
    return [[_interval(value, *next(ends)) for value in mean_M.tolist()] for mean_M in means]


def _interval(value: float, low: float, high: float) -> Interval:
    """Where there is no spread, ends and value differ by how they were added up."""
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _held(value_G: FloatArray, size_G: LongArray) -> tuple[FloatArray, LongArray]:
    """A table with one group of value 0: sorted by rank, the others are all places that a metric does not look at."""
    held = np.flatnonzero(value_G)
    rest = int(size_G.sum() - size_G[held].sum())
    return (np.append(value_G[held], 0.0), np.append(size_G[held], rest)) if rest else (value_G[held], size_G[held])


def intervals_of_users(values_UM: FloatArray, cluster_U: NDArray[np.integer] | None = None) -> list[Interval]:
    """Means over users of M metrics with their 95 % intervals.

    Args:
        values_UM: of each user.
        cluster_U: equal for users who are not independent of each other: clusters are drawn then, each with all its users, and a mean
            is the ratio of two sums, as the number of users differs from draw to draw. None: users are drawn.
    """
    if cluster_U is None:
        return [found for (found,) in mean_intervals([grouped(value_U[:, None]) for value_U in values_UM.T])]
    sums_CM = cluster_sums(values_UM, cluster_U)
    values_GM, sizes_G = grouped(sums_CM)
    total_M = sums(sizes_G[:, None], values_GM)[:, 0]
    value_M = total_M[:-1] / total_M[-1]
    ends_M2 = _few_ratios(sums_CM) if len(sums_CM) <= _FEW else _ratio_ends(sums_CM, value_M)
    return [_interval(value, low, high) for value, (low, high) in zip(value_M.tolist(), ends_M2.tolist(), strict=True)]


def _few_ratios(sums_CM: FloatArray) -> FloatArray:
    """(M, 2) ends of ratios to the last column, from all that can be drawn."""
    mixtures = Mixtures.of(len(sums_CM))
    drawn_WM = mixtures.weight_WS @ sums_CM
    ratio_WM = np.round(drawn_WM[:, :-1] / drawn_WM[:, -1:], PLACES)
    order_WM = np.argsort(ratio_WM, axis=0, kind="stable")
    below_WM = np.cumsum(mixtures.chance_W[order_WM], axis=0)
    first_2M = (below_WM < TAILS[:, None, None] - 1e-9).sum(axis=1)
    ends: FloatArray = np.take_along_axis(np.take_along_axis(ratio_WM, order_WM, axis=0), first_2M, axis=0).T
    return ends


def _ratio_ends(sums_CM: FloatArray, value_M: FloatArray) -> FloatArray:
    """(M, 2) ends of ratios to the last column.

    A ratio is at most x where the sum of numerator - x denominator over the drawn clusters is at most 0. Where that sum has steps, as with
    a handful of clusters that have any value, the denominator counts by its first order alone.
    """
    from scipy.special import ndtri

    size_C, value_CM = sums_CM[:, -1], sums_CM[:, :-1]
    residual_CM = value_CM - value_M * size_C[:, None]
    linear = SumsOfDraws([(table[:, 0], sizes) for table, sizes in (grouped(residual_C[:, None]) for residual_C in residual_CM.T)])
    ends_M2 = value_M[:, None] + linear.mean_quantiles(TAILS) / size_C.mean()
    smooth = linear.smooth()
    pairs = [grouped(sums_CM[:, [column, -1]]) for column in smooth.tolist()]

    def chances(bound_S2: FloatArray) -> FloatArray:
        of_bounds = zip(pairs, bound_S2.tolist(), strict=True)
        tables = [(pair_G2[:, 0] - bound * pair_G2[:, 1], size_G) for (pair_G2, size_G), bounds in of_bounds for bound in bounds]
        return SumsOfDraws(tables).chances_of_at_most_zero().reshape(-1, 2)

    if len(smooth):
        middle_S1, reach_S1 = value_M[smooth, None], np.ptp(ends_M2[smooth], axis=1, keepdims=True)
        low_S1, high_S1, spread_S1 = middle_S1 - 3 * reach_S1, middle_S1 + 3 * reach_S1, reach_S1 / np.ptp(ndtri(TAILS))
        ends_M2[smooth] = first_bounds(chances, TAILS, low_S1, high_S1, middle_S1, spread_S1)
    ratio_CM = value_CM / size_C[:, None]
    inside_M2: FloatArray = np.clip(np.round(ends_M2, PLACES), ratio_CM.min(axis=0)[:, None], ratio_CM.max(axis=0)[:, None])
    return inside_M2


def cluster_sums(values_UM: FloatArray, cluster_U: NDArray[np.integer]) -> FloatArray:
    """Per cluster the sums of its users' values and, in the last column, how many they are, (C, M + 1)."""
    distinct, number_U = np.unique(cluster_U, return_inverse=True)
    columns = [np.bincount(number_U, weights=values_UM[:, column], minlength=len(distinct)) for column in range(values_UM.shape[1])]
    return np.stack([*columns, np.bincount(number_U, minlength=len(distinct)).astype(np.float64)], axis=1)
