"""Percentile intervals of the bootstrap over users, without drawing: what they come to after infinitely many resamples.

A resample draws as many users as there are, with replacement. The ends of an interval are the 2.5 % and the 97.5 % quantile of its mean,
a quantile being the smallest mean that is not exceeded with that chance. They come from the law of the sum (see `sum_law`), have no
seed, and differ between processors by no more than the last bits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray
from recbench.core.records import Interval
from recbench.core.seeds import frozen_generator
from recbench.evaluation.sum_law import FloatArray, law_of_sum

# U users, C clusters, G groups of users with equal values, M metrics, D values of a user, K ways in which seeds can be drawn

CONFIDENCE = 0.95
LEVELS = ((1.0 - CONFIDENCE) / 2, (1.0 + CONFIDENCE) / 2)
"""Chances of a mean up to the lower and to the upper end."""
MOST_WAYS = 20_000
"""Ways in which seeds can be drawn of which all are counted; of more so many are drawn."""
_MOST_LAWS = 1_000
"""Ways in which seeds can be drawn whose laws are computed one by one, where moments do not suffice."""
_LARGEST_SKEWNESS, _LARGEST_KURTOSIS = 0.15, 0.1
"""Up to these four moments say all about a sum that an interval needs."""
_TOLERANCE = 1e-10
"""Of the ends, as a share of the largest value; what is nearer to 0 is 0."""


def grouped(values_UM: FloatArray) -> tuple[FloatArray, LongArray]:
    """Distinct rows in sorted order (G, M), and how many users have each (G,)."""
    if values_UM.shape[1] == 1:
        column, sizes = np.unique(values_UM[:, 0], return_counts=True)
        return column[:, None], sizes.astype(np.int64)
    rows, sizes = np.unique(values_UM, axis=0, return_counts=True)
    return rows, sizes.astype(np.int64)


def mean_intervals(values_GM: FloatArray, sizes_G: LongArray) -> list[Interval]:
    """Mean over the users of each metric, with its interval.

    Args:
        values_GM: what the users of each group have; groups may be equal.
        sizes_G: users in each group.
    """
    return [_mean_interval(value_G, sizes_G) for value_G in values_GM.T]


def _mean_interval(value_G: FloatArray, size_G: LongArray) -> Interval:
    n = int(size_G.sum())
    mean = math.fsum((value_G * size_G).tolist()) / n
    law = law_of_sum(value_G, size_G)
    if law.step == 0:
        return Interval(value=mean, low=mean, high=mean)
    low, high = (law.quantile(level) / n for level in LEVELS)
    return Interval(value=mean, low=low, high=high)


def user_intervals(values_UM: FloatArray, cluster_U: NDArray[np.integer] | None) -> list[Interval]:
    """Mean over the users of each metric, with its interval.

    Args:
        values_UM: of each user.
        cluster_U: equal for users who are not independent of each other: clusters are drawn then, each with all its users, and a mean
            is the ratio of two sums, as the number of users differs from draw to draw. None: users are drawn.
    """
    if cluster_U is None:
        return mean_intervals(values_UM, np.ones(len(values_UM), dtype=np.int64))
    found = []
    sums_CM = cluster_sums(values_UM, cluster_U)
    for column in range(values_UM.shape[1]):
        low, high = _ends_of_ratio(*grouped(sums_CM[:, [column, -1]]), _ONE_WAY)
        found.append(Interval(value=_total(sums_CM[:, column]) / _total(sums_CM[:, -1]), low=low, high=high))
    return found


def seed_interval(a_SU: FloatArray, b_TU: FloatArray, cluster_U: NDArray[np.integer] | None) -> Interval:
    """Mean of a - b over seeds and users with an interval that counts both as drawn.

    A resample draws seeds of a, seeds of b, and users (or clusters), the same for all seeds. Every way in which the seeds can be drawn
    has its chance and, given the seeds, the law of a mean over users; the interval is that of the mixture.

    Args:
        a_SU, b_TU: value of each user under each seed.
        cluster_U: as for `user_intervals`.
    """
    ways = _ways(len(a_SU), len(b_TU))
    values_UD = np.concatenate([a_SU, b_TU]).T
    value = _total(a_SU.ravel()) / a_SU.size - _total(b_TU.ravel()) / b_TU.size
    if cluster_U is None:
        is_zero_U = ~values_UD.any(axis=1)
        rows_GD = np.concatenate([values_UD[is_zero_U][:1], values_UD[~is_zero_U]])
        sizes_G = np.ones(len(rows_GD), dtype=np.int64)
        sizes_G[0] += max(0, int(np.count_nonzero(is_zero_U)) - 1)
        of_level = _quantiles(rows_GD, sizes_G, ways)
        reach = float(np.abs(values_UD).max())
        low, high = (_not_next_to_0(of_level(level) / len(values_UD), reach) for level in LEVELS)
    else:
        sums_CE = cluster_sums(values_UD, cluster_U)
        low, high = _ends_of_ratio(sums_CE, np.ones(len(sums_CE), dtype=np.int64), ways)
    return Interval(value=value, low=low, high=high)


@dataclass(frozen=True, eq=False)
class _Ways:
    """Ways in which seeds can be drawn.

    Attributes:
        weight_KD: what a user's value under each seed counts.
        chance_K: of each way.
    """

    weight_KD: FloatArray
    chance_K: FloatArray

    def at_most(self, n_ways: int, mean_D: FloatArray) -> "_Ways":
        """So many ways of equal chance, evenly spread over all in the order of their means; `mean_D` of each seed."""
        if len(self.chance_K) <= n_ways:
            return self
        order_K = (self.weight_KD * mean_D).sum(axis=1).argsort(kind="stable")
        place_N = np.searchsorted(np.cumsum(self.chance_K[order_K]), (np.arange(n_ways) + 0.5) / n_ways)
        return _Ways(self.weight_KD[order_K[place_N]], np.full(n_ways, 1 / n_ways))


_ONE_WAY = _Ways(np.ones((1, 1)), np.ones(1))


@lru_cache(maxsize=16)
def _ways(n_seeds_a: int, n_seeds_b: int) -> _Ways:
    """Seeds of both sides, each drawn with replacement."""
    if math.comb(2 * n_seeds_a - 1, n_seeds_a) * math.comb(2 * n_seeds_b - 1, n_seeds_b) > MOST_WAYS:
        rng = frozen_generator(0, "seeds", n_seeds_a, n_seeds_b)
        drawn = [rng.randint(0, n, size=(MOST_WAYS, n)) for n in (n_seeds_a, n_seeds_b)]
        counts_a, counts_b = ((seeds[:, :, None] == np.arange(seeds.shape[1])).sum(axis=1) for seeds in drawn)
        return _Ways(np.concatenate([counts_a / n_seeds_a, -counts_b / n_seeds_b], axis=1), np.full(MOST_WAYS, 1 / MOST_WAYS))
    weights, chances = [], []
    for counts_a, chance_a in _multisets(n_seeds_a):
        for counts_b, chance_b in _multisets(n_seeds_b):
            weights.append([count / n_seeds_a for count in counts_a] + [-count / n_seeds_b for count in counts_b])
            chances.append(chance_a * chance_b)
    return _Ways(np.array(weights), np.array(chances))


def _multisets(n: int) -> list[tuple[list[int], float]]:
    """How often each of n seeds comes among n draws, and the chance of it."""
    found = []
    for drawn in combinations_with_replacement(range(n), n):
        counts = [drawn.count(seed) for seed in range(n)]
        found.append((counts, math.factorial(n) / math.prod(map(math.factorial, counts)) / n**n))
    return found


def _ends_of_ratio(rows_CE: FloatArray, size_C: LongArray, ways: _Ways) -> tuple[float, float]:
    """The ends for a weighted sum of columns divided by the last one, which holds the sizes of clusters.

    The ratio is at most x where the sum of value - x * size is at most 0: an end is the x for which that sum's quantile is 0.
    """
    mean_CD = rows_CE[:, :-1] / rows_CE[:, -1:]
    low_D, high_D = mean_CD.min(axis=0), mean_CD.max(axis=0)
    plus_KD, minus_KD = np.maximum(ways.weight_KD, 0), np.minimum(ways.weight_KD, 0)
    bottom = float((plus_KD * low_D + minus_KD * high_D).sum(axis=1).min())
    top = float((plus_KD * high_D + minus_KD * low_D).sum(axis=1).max())
    reach = max(abs(bottom), abs(top))

    def end(level: float) -> float:
        def excess(x: float) -> float:
            weight_KE = np.concatenate([ways.weight_KD, np.full((len(ways.weight_KD), 1), -x)], axis=1)
            return _quantiles(rows_CE, size_C, _Ways(weight_KE, ways.chance_K))(level)

        return _not_next_to_0(_root(excess, bottom, top), reach)

    return end(LEVELS[0]), end(LEVELS[1])


def _quantiles(rows_GD: FloatArray, size_G: LongArray, ways: _Ways) -> Callable[[float], float]:
    """The quantiles of the sum over drawn users of their weighted values, the weights drawn once for all of them."""
    if len(ways.chance_K) == 1:
        return law_of_sum((rows_GD * ways.weight_KD[0]).sum(axis=1), size_G).quantile
    moments = _Moments.of(rows_GD, size_G, ways)
    if moments.are_mild:
        return moments.quantile
    ways = ways.at_most(_MOST_LAWS, (size_G[:, None] * rows_GD).sum(axis=0))
    laws = [law_of_sum((rows_GD * weight_D).sum(axis=1), size_G) for weight_D in ways.weight_KD]
    chances: list[float] = ways.chance_K.tolist()

    def quantile(level: float) -> float:
        of_each = [law.quantile(level) for law in laws]

        def excess(most: float) -> float:
            return math.fsum(law.chance_up_to(most) * chance for law, chance in zip(laws, chances, strict=True)) - level

        return _root(excess, min(of_each), max(of_each))

    return quantile


def _root(function: Callable[[float], float], bottom: float, top: float) -> float:
    """Where a function that rises or falls from `bottom` to `top` is 0."""
    from scipy.optimize import brentq

    if top - bottom <= _TOLERANCE * max(abs(bottom), abs(top)):
        return bottom
    at_bottom, at_top = function(bottom), function(top)
    if at_bottom == 0 or at_top == 0 or (at_bottom > 0) == (at_top > 0):
        return bottom if abs(at_bottom) <= abs(at_top) else top
    return float(brentq(function, bottom, top, xtol=_TOLERANCE * (top - bottom) / 2))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over drawn users, known by their moments: one law for each way of drawing the seeds.

    Attributes:
        mean_K, deviation_K, skewness_K, kurtosis_K: of the sum; the last is that beyond a normal law.
        chance_K: of each way.
    """

    mean_K: FloatArray
    deviation_K: FloatArray
    skewness_K: FloatArray
    kurtosis_K: FloatArray
    chance_K: FloatArray

    @classmethod
    def of(cls, rows_GD: FloatArray, size_G: LongArray, ways: _Ways) -> "_Moments":
        n = int(size_G.sum())
        found = []
        for weight_D in ways.weight_KD:
            value_G = (rows_GD * weight_D).sum(axis=1)
            mean = float((size_G * value_G).sum()) / n
            square_G = (value_G - mean) ** 2
            variance, third, fourth = (float((size_G * part).sum()) / n for part in (square_G, square_G * (value_G - mean), square_G**2))
            deviation = math.sqrt(variance)
            if deviation <= _TOLERANCE * float(np.abs(rows_GD).max()):
                found.append((n * mean, 0.0, 0.0, 0.0))
                continue
            shape = third / (variance * deviation * math.sqrt(n)), (fourth / variance**2 - 3) / n
            found.append((n * mean, deviation * math.sqrt(n), *shape))
        mean_K, deviation_K, skewness_K, kurtosis_K = np.array(found).T
        return cls(mean_K, deviation_K, skewness_K, kurtosis_K, ways.chance_K)

    @property
    def are_mild(self) -> bool:
        """Whether no higher moments are needed."""
        is_mild_K = (np.abs(self.skewness_K) <= _LARGEST_SKEWNESS) & (np.abs(self.kurtosis_K) <= _LARGEST_KURTOSIS)
        return bool((is_mild_K & (self.deviation_K > 0)).all())

    def chance_up_to(self, most: float) -> float:
        """Chance that the sum is at most this, by Edgeworth's series up to the fourth moment."""
        from scipy.special import ndtr

        off_K = most - self.mean_K
        is_spread_K = self.deviation_K > 0
        z_K = off_K[is_spread_K] / self.deviation_K[is_spread_K]
        skewness_K, kurtosis_K = self.skewness_K[is_spread_K], self.kurtosis_K[is_spread_K]
        square_K = z_K**2
        series_K = skewness_K / 6 * (square_K - 1) + kurtosis_K / 24 * z_K * (square_K - 3)
        series_K += skewness_K**2 / 72 * z_K * (square_K**2 - 10 * square_K + 15)
        chance_K = (off_K >= 0).astype(np.float64)
        chance_K[is_spread_K] = ndtr(z_K) - np.exp(-square_K / 2) / math.sqrt(2 * math.pi) * series_K
        return float((self.chance_K * chance_K).sum())

    def quantile(self, level: float) -> float:
        """The sum that is not exceeded with a chance of `level`."""
        bottom, top = (float(end) for end in ((self.mean_K - 8 * self.deviation_K).min(), (self.mean_K + 8 * self.deviation_K).max()))
        return _root(lambda most: self.chance_up_to(most) - level, bottom, top)


def _total(value_U: FloatArray) -> float:
    return math.fsum(value_U.tolist())


def _not_next_to_0(value: float, reach: float) -> float:
    return 0.0 if abs(value) <= 2 * _TOLERANCE * reach else value


def cluster_sums(values_UM: FloatArray, cluster_U: NDArray[np.integer]) -> FloatArray:
    """Per cluster the sums of its users' values and, in the last column, how many they are, (C, M + 1)."""
    distinct, number_U = np.unique(cluster_U, return_inverse=True)
    columns = [np.bincount(number_U, weights=values_UM[:, column], minlength=len(distinct)) for column in range(values_UM.shape[1])]
    return np.stack([*columns, np.bincount(number_U, minlength=len(distinct)).astype(np.float64)], axis=1)
