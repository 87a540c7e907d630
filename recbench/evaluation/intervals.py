"""Bootstrap over users, by groups of users that cannot be told apart.

Drawing n users with replacement and counting how many fall into each group is one multinomial draw over the groups. With one
target per user there are at most as many groups as ranks, so a thousand resamples of a hundred thousand users take milliseconds
and are the same bootstrap. Sums run in a fixed order, without BLAS, and draws come from a frozen stream, so that equal ranks give
equal digits on every machine and under every NumPy.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray
from recbench.core.records import Interval
from recbench.core.seeds import frozen_generator

FloatArray = NDArray[np.float64]
CountArray = NDArray[np.signedinteger[Any]]

RESAMPLES = 1_000
CONFIDENCE = 0.95
_USERS_PER_GROUP = 16
"""With fewer users to a group than this, drawing users is quicker than drawing the sizes of the groups."""
_CELLS_AT_A_TIME = 1 << 22
_USERS_TO_KEEP = 2_000
"""Draws of larger tables are not kept for the next one: they would fill the memory."""
_RESAMPLES_AT_A_TIME = 1_000
"""Resamples whose group sizes are drawn at a time. It belongs to the stream: another number gives other draws."""
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


class Draws:
    """Users drawn with replacement by one stream of random numbers, for any number of tables of users.

    Every table is drawn from the beginning of the stream, so that its figures do not depend on the tables before it. Users who are drawn
    one by one are places in a table, whatever stands there: tables of equally many users share those draws.
    """

    def __init__(self, seed: int, *names: str | int) -> None:
        """The stream of `frozen_generator`."""
        self.rng = frozen_generator(seed, *names)
        """Stands behind the draws of the latest table, once all blocks of it were taken."""
        self._start = self.rng.get_state(legacy=False)
        self._kept: tuple[tuple[int, int], CountArray, Any] | None = None

    def sizes(self, sizes_G: LongArray, resamples: int, n_counted: int | None = None) -> Iterator[CountArray]:
        """How many users of each group are in each resample: blocks of (G, b), `resamples` columns in all.

        Args:
            sizes_G: users in each group.
            resamples: how many times the users are drawn anew.
            n_counted: how many of the groups, from the first on, are asked for; the others have no row, and `rng` is then nowhere in
                particular. None: all.
        """
        n, n_groups = int(sizes_G.sum()), len(sizes_G)
        if n >= _USERS_PER_GROUP * n_groups or n > _USERS_TO_KEEP:
            self.rng.set_state(self._start)
            yield from resampled_sizes(sizes_G, resamples, self.rng, n_counted)
            return
        end_G = np.cumsum(sizes_G)[:n_counted]
        before = self._drawn_before(n, resamples)
        yield before[end_G] - before[end_G - sizes_G[:n_counted]]

    def _drawn_before(self, n: int, resamples: int) -> CountArray:
        """How many of the users that each resample draws stand before each place of a table of n, (n + 1, resamples)."""
        if self._kept is None or self._kept[0] != (n, resamples):
            self.rng.set_state(self._start)
            before = np.zeros((n + 1, resamples), dtype=np.int16)
            start = 0
            for block in _drawn_users(np.arange(n), n, resamples, self.rng):
                np.cumsum(block, axis=0, out=before[1:, start : start + block.shape[1]])
                start += block.shape[1]
            self._kept = (n, resamples), before, self.rng.get_state(legacy=False)
        self.rng.set_state(self._kept[2])
        return self._kept[1]


def resampled_sizes(sizes_G: LongArray, resamples: int, rng: np.random.RandomState, n_counted: int | None = None) -> Iterator[CountArray]:
    """As `Draws.sizes`, from a generator as it stands."""
    n, n_groups = int(sizes_G.sum()), len(sizes_G)
    if n < _USERS_PER_GROUP * n_groups:
        group = np.repeat(np.arange(n_groups, dtype=np.int64), sizes_G)
        yield from (block[:n_counted] for block in _drawn_users(group, n_groups, resamples, rng))
        return
    for start in range(0, resamples, _RESAMPLES_AT_A_TIME):
        rows = min(_RESAMPLES_AT_A_TIME, resamples - start)
        # What nobody asks for may stay undrawn where no further draws follow.
        is_last = start + rows == resamples
        yield _multinomial(sizes_G, rows, rng, n_counted if is_last else None)[:n_counted]


def _drawn_users(group_U: LongArray, n_groups: int, resamples: int, rng: np.random.RandomState) -> Iterator[LongArray]:
    """Users drawn one by one and counted by group, blocks of (n_groups, b)."""
    n = len(group_U)
    block = max(1, _CELLS_AT_A_TIME // max(n, n_groups))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = group_U[rng.randint(0, n, size=(rows, n), dtype=np.int32)]
        drawn += np.arange(rows, dtype=np.int64)[:, None] * n_groups
        yield np.bincount(drawn.ravel(), minlength=rows * n_groups).reshape(rows, n_groups).T


def _multinomial(sizes_G: LongArray, rows: int, rng: np.random.RandomState, n_counted: int | None = None) -> LongArray:
    """As many users as there are, drawn with replacement `rows` times: how many came from each group, (G, rows)."""
    drawn_GR = np.empty((len(sizes_G[:n_counted]), rows), dtype=np.int64)
    n = int(sizes_G.sum())
    undrawn_R: LongArray | int = n
    not_before = n
    for group, size in enumerate(sizes_G[: len(drawn_GR)].tolist()):
        # Of the users that no group before this one got, each is of this group with the same chance. The last group gets those left.
        drawn_GR[group] = undrawn_R if size == not_before else rng.binomial(undrawn_R, size / not_before, size=rows)
        undrawn_R = undrawn_R - drawn_GR[group]
        not_before -= size
    return drawn_GR


def sums(sizes_GB: CountArray, values_GM: FloatArray) -> FloatArray:
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


def bounds(samples_MR: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The percentile interval of each row, two times (M,)."""
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(samples_MR, [tail, 1.0 - tail], axis=1)
    return low, high


def intervals(value_M: FloatArray, samples_MR: FloatArray) -> list[Interval]:
    """Means with the 95 % percentile intervals of their resamples."""
    ends = (end.tolist() for end in bounds(samples_MR))
    return [Interval(value=value, low=low, high=high) for value, low, high in zip(value_M.tolist(), *ends, strict=True)]


def bootstrap_means(values_GM: FloatArray, sizes_G: LongArray, draws: Draws, resamples: int = RESAMPLES) -> tuple[FloatArray, FloatArray]:
    """Mean over the users of each of M metrics (M,), and in every resample (M, R); all metrics from the same resamples.

    Args:
        values_GM: what the users of each group have, as from `grouped`.
        sizes_G: users in each group.
        draws: the stream of random numbers.
        resamples: how many times the users are drawn anew.
    """
    n = int(sizes_G.sum())
    # Groups behind the last one with a value add nothing. Sorted by rank, these are all places that no metric looks at.
    n_counted = int(np.flatnonzero(values_GM.any(axis=1)).max(initial=0)) + 1
    blocks = [sums(block, values_GM) for block in draws.sizes(sizes_G, resamples, n_counted)]
    return sums(sizes_G[:, None], values_GM)[:, 0] / n, np.concatenate(blocks, axis=1) / n


def resampled_means(
    values_UM: FloatArray, cluster_U: NDArray[np.integer] | None, draws: Draws, resamples: int = RESAMPLES
) -> tuple[FloatArray, FloatArray]:
    """Mean over the users (M,), and in every resample (M, R); `draws.rng` then stands behind the draws.

    Args:
        values_UM: of each user.
        cluster_U: equal for users who are not independent of each other: clusters are drawn then, each with all its users, and a mean
            is the ratio of two sums, as the number of users differs from draw to draw. None: users are drawn.
        draws: the stream of random numbers.
        resamples: how many times the users or clusters are drawn anew.
    """
    values_GM, sizes_G = grouped(values_UM if cluster_U is None else cluster_sums(values_UM, cluster_U))
    total_M = sums(sizes_G[:, None], values_GM)[:, 0]
    samples_MR = np.concatenate([sums(block, values_GM) for block in draws.sizes(sizes_G, resamples)], axis=1)
    if cluster_U is None:
        n = int(sizes_G.sum())
        return total_M / n, samples_MR / n
    return total_M[:-1] / total_M[-1], samples_MR[:-1] / samples_MR[-1]


def cluster_sums(values_UM: FloatArray, cluster_U: NDArray[np.integer]) -> FloatArray:
    """Per cluster the sums of its users' values and, in the last column, how many they are, (C, M + 1)."""
    distinct, number_U = np.unique(cluster_U, return_inverse=True)
    columns = [np.bincount(number_U, weights=values_UM[:, column], minlength=len(distinct)) for column in range(values_UM.shape[1])]
    return np.stack([*columns, np.bincount(number_U, minlength=len(distinct)).astype(np.float64)], axis=1)
