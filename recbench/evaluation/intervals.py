"""Bootstrap over users, by groups of users that cannot be told apart.

Drawing n users with replacement and counting how many fall into each group is one multinomial draw over the groups. With one
target per user there are at most as many groups as ranks, so a thousand resamples of a hundred thousand users take milliseconds
and are the same bootstrap. Sums run in a fixed order, without BLAS, and draws come from a frozen stream, so that equal ranks give
equal digits on every machine and under every NumPy.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray
from recbench.core.records import Interval

FloatArray = NDArray[np.float64]

RESAMPLES = 1_000
CONFIDENCE = 0.95
_USERS_PER_GROUP = 16
"""With fewer users to a group than this, drawing users is quicker than drawing the sizes of the groups."""
_CELLS_AT_A_TIME = 1 << 22
_RESAMPLES_AT_A_TIME = 1_000
"""Resamples whose group sizes are drawn at a time. It belongs to the stream: another number gives other draws."""


def grouped(values_UM: FloatArray) -> tuple[FloatArray, LongArray]:
    """Distinct rows in sorted order (G, M), and how many users have each (G,)."""
    if values_UM.shape[1] == 1:
        column, sizes = np.unique(values_UM[:, 0], return_counts=True)
        return column[:, None], sizes.astype(np.int64)
    rows, sizes = np.unique(values_UM, axis=0, return_counts=True)
    return rows, sizes.astype(np.int64)


def resampled_sizes(sizes_G: LongArray, resamples: int, rng: np.random.RandomState) -> Iterator[LongArray]:
    """How many users of each group are in each resample: blocks of (b, G), `resamples` rows in all."""
    n, n_groups = int(sizes_G.sum()), len(sizes_G)
    if n >= _USERS_PER_GROUP * n_groups:
        for start in range(0, resamples, _RESAMPLES_AT_A_TIME):
            yield _multinomial(sizes_G, min(_RESAMPLES_AT_A_TIME, resamples - start), rng)
        return
    group = np.repeat(np.arange(n_groups, dtype=np.int64), sizes_G)
    block = max(1, _CELLS_AT_A_TIME // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = group[rng.randint(0, n, size=(rows, n), dtype=np.int32)]
        drawn += np.arange(rows, dtype=np.int64)[:, None] * n_groups
        yield np.bincount(drawn.ravel(), minlength=rows * n_groups).reshape(rows, n_groups)


def _multinomial(sizes_G: LongArray, rows: int, rng: np.random.RandomState) -> LongArray:
    """As many users as there are, drawn with replacement `rows` times: how many came from each group, (rows, G)."""
    drawn_RG = np.empty((rows, len(sizes_G)), dtype=np.int64)
    n = int(sizes_G.sum())
    undrawn_R = np.full(rows, n, dtype=np.int64)
    not_before = n
    for group, size in enumerate(sizes_G[:-1].tolist()):
        # Of the users that no group before this one got, each is of this group with the same chance.
        drawn_RG[:, group] = rng.binomial(undrawn_R, size / not_before)
        undrawn_R -= drawn_RG[:, group]
        not_before -= size
    drawn_RG[:, -1] = undrawn_R
    return drawn_RG


def sums(sizes_BG: LongArray, values_GM: FloatArray) -> FloatArray:
    """Sum over the groups of size times value, (B, M), in a fixed order."""
    columns = [(sizes_BG * values_GM[:, column]).sum(axis=1) for column in range(values_GM.shape[1])]
    return np.stack(columns, axis=1)


def bounds(samples_RM: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The percentile interval of each column, two times (M,)."""
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(samples_RM, [tail, 1.0 - tail], axis=0)
    return low, high


def bootstrap_means(values_GM: FloatArray, sizes_G: LongArray, rng: np.random.RandomState, resamples: int = RESAMPLES) -> list[Interval]:
    """Mean over the users and its 95 % percentile interval for each of M metrics; all from the same resamples.

    Args:
        values_GM: what the users of each group have, as from `grouped`.
        sizes_G: users in each group.
        rng: the stream of random numbers, as `frozen_generator` makes it.
        resamples: how many times the users are drawn anew.
    """
    n = int(sizes_G.sum())
    value_M = sums(sizes_G[None], values_GM)[0] / n
    samples_RM = np.concatenate([sums(block, values_GM) for block in resampled_sizes(sizes_G, resamples, rng)]) / n
    low_M, high_M = bounds(samples_RM)
    return [Interval(value=float(v), low=float(lo), high=float(hi)) for v, lo, hi in zip(value_M, low_M, high_M, strict=True)]


def resampled_means(
    values_UM: FloatArray, cluster_U: NDArray[np.integer] | None, rng: np.random.RandomState, resamples: int = RESAMPLES
) -> tuple[FloatArray, FloatArray]:
    """Mean over the users (M,), and in every resample (R, M).

    Args:
        values_UM: of each user.
        cluster_U: equal for users who are not independent of each other: clusters are drawn then, each with all its users, and a mean
            is the ratio of two sums, as the number of users differs from draw to draw. None: users are drawn.
        rng: the stream of random numbers.
        resamples: how many times the users or clusters are drawn anew.
    """
    if cluster_U is None:
        values_GM, sizes_G = grouped(values_UM)
        n = int(sizes_G.sum())
        samples_RM = np.concatenate([sums(block, values_GM) for block in resampled_sizes(sizes_G, resamples, rng)]) / n
        return sums(sizes_G[None], values_GM)[0] / n, samples_RM
    rows_GM, sizes_G = grouped(cluster_sums(values_UM, cluster_U))
    total_M = sums(sizes_G[None], rows_GM)[0]
    samples_RM = np.concatenate([sums(block, rows_GM) for block in resampled_sizes(sizes_G, resamples, rng)])
    return total_M[:-1] / total_M[-1], samples_RM[:, :-1] / samples_RM[:, -1:]


def cluster_sums(values_UM: FloatArray, cluster_U: NDArray[np.integer]) -> FloatArray:
    """Per cluster the sums of its users' values and, in the last column, how many they are, (C, M + 1)."""
    distinct, number_U = np.unique(cluster_U, return_inverse=True)
    columns = [np.bincount(number_U, weights=values_UM[:, column], minlength=len(distinct)) for column in range(values_UM.shape[1])]
    return np.stack([*columns, np.bincount(number_U, minlength=len(distinct)).astype(np.float64)], axis=1)


def cluster_means(values_UM: FloatArray, cluster_U: NDArray[np.integer], rng: np.random.RandomState) -> list[Interval]:
    """As `bootstrap_means`, where users come in clusters; see `resampled_means`."""
    value_M, samples_RM = resampled_means(values_UM, cluster_U, rng)
    low_M, high_M = bounds(samples_RM)
    return [Interval(value=float(v), low=float(lo), high=float(hi)) for v, lo, hi in zip(value_M, low_M, high_M, strict=True)]
