"""The distribution of sums of independent draws, without drawing: by Fourier inversion.

The characteristic function of a sum of n draws is that of one draw to the power n. Where it falls to nothing, the density is a short
Fourier series over a window of twenty standard deviations: some thirty frequencies give the distribution to many more digits than any
number of random draws could. Where it does not, as with a handful of users who have any value at all, the sum takes few values: it is
laid on a grid, and a pair of fast transforms gives the probability of each (Feller 1971, chapter XV; Abate and Whitt 1992).

A fine lattice, such as the shares of thousands of users, becomes a smooth curve through the middles of its steps: half a step, which is
half a user, is the most by which a quantile differs.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_WINDOW = 20.0
"""Width of the window in standard deviations of the sum; the series repeats outside of it."""
FREQUENCIES = 2 * np.pi / _WINDOW * np.arange(1, 30)
"""(J,) of a sum of spread 1, up to 9: the characteristic function of a normal sum is 1e-18 there."""
_NOTHING = 1e-5
"""A series is cut where the characteristic function is smallest; above this the sum has steps, and is laid on a grid."""
_NEWTON_STEPS = 8
_CELLS = 1 << 11
_SPREADS, _VALUES = 24, 8
"""Width of the grid: so many standard deviations of the sum, and so many times the largest value."""
_BY_ROUNDING = 1e-9
"""A step of the distribution that stays below a probability by so little reaches it."""


_ATTEMPTS, _GUESSES = 60, 8
PLACES = 13
"""Decimals of a bound: what is left of sums that are 0 is rounded away."""


@dataclass(frozen=True, eq=False)
class Series:
    """Distributions of mean 0 and spread 1 as Fourier series.

    Attributes:
        weight_MJ: characteristic functions at `FREQUENCIES`, 0 from where each is smallest.
        is_smooth_M: whether they fall to nothing; of the others nothing is to be asked.
    """

    weight_MJ: ComplexArray
    is_smooth_M: NDArray[np.bool_]

    @classmethod
    def of(cls, weight_MJ: ComplexArray) -> Self:
        """From the characteristic functions at `FREQUENCIES`."""
        size_MJ = np.abs(weight_MJ)
        smallest_M = size_MJ.argmin(axis=1)
        is_before_MJ = np.arange(len(FREQUENCIES)) < smallest_M[:, None]
        return cls(np.where(is_before_MJ, weight_MJ, 0), size_MJ[np.arange(len(smallest_M)), smallest_M] <= _NOTHING)

    def chances(self, place_MP: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probability of at most each place, and the density there, (M, P) both."""
        turned_MPJ = self.weight_MJ[:, None] * np.exp(-1j * FREQUENCIES * place_MP[..., None])
        at_edge_MJ = self.weight_MJ * np.exp(0.5j * FREQUENCIES * _WINDOW)
        density_MP = (1 + 2 * turned_MPJ.real.sum(axis=2)) / _WINDOW
        area_MPJ = (at_edge_MJ[:, None] - turned_MPJ).imag / FREQUENCIES
        return 0.5 + place_MP / _WINDOW + 2 / _WINDOW * area_MPJ.sum(axis=2), density_MP

    def quantiles(self, chance_P: FloatArray) -> FloatArray:
        """(M, P) places with each probability below them, by Newton's method from those of the normal distribution."""
        from scipy.special import ndtri

        place_MP = np.tile(ndtri(chance_P), (len(self.weight_MJ), 1))
        for _ in range(_NEWTON_STEPS):
            below_MP, density_MP = self.chances(place_MP)
            place_MP -= np.clip((below_MP - chance_P) / np.maximum(density_MP, 1e-6), -0.5, 0.5)
        return place_MP


@dataclass(frozen=True, eq=False)
class Steps:
    """A distribution of mean 0 and spread 1 on a grid of C points.

    Attributes:
        place_C: the points.
        below_C: probability of at most each.
    """

    place_C: FloatArray
    below_C: FloatArray

    @classmethod
    def of(cls, value_G: FloatArray, chance_G: FloatArray, n: int) -> Self:
        """Of a sum of n draws from values with their probabilities, standardised for the sum."""
        # Most draws of such a sum are one value: values are counted from there, so that it stands on a point of the grid, and the
        # largest distance is a whole number of cells.
        usual = value_G[chance_G.argmax()]
        distance_G = value_G - usual
        largest = float(np.abs(distance_G).max())
        cell = largest / max(1.0, np.floor(_CELLS / (_SPREADS / largest + _VALUES)))
        # A value between two points is divided between them so that means stay; rounding must not move one that stands on a point.
        point_G = np.rint(distance_G / cell * 2**20) / 2**20
        lower_G = np.floor(point_G).astype(np.int64)
        upper_G = chance_G * (point_G - lower_G)
        cell_G = np.concatenate([lower_G, lower_G + 1]) % _CELLS
        mass_C = np.bincount(cell_G, weights=np.concatenate([chance_G - upper_G, upper_G]), minlength=_CELLS)
        of_sum_C = np.fft.irfft(np.fft.rfft(mass_C) ** n, _CELLS)
        # The grid is a circle; it is cut half a turn away from the mean of the sum, which is 0.
        number_C = int(np.rint(-n * usual / cell)) - _CELLS // 2 + np.arange(_CELLS)
        return cls(number_C * cell + n * usual, np.cumsum(np.maximum(of_sum_C[number_C % _CELLS], 0.0)))

    def quantiles(self, chance_P: FloatArray) -> FloatArray:
        """(P,) the first places with at least each probability at or below them."""
        number_P = np.searchsorted(self.below_C, chance_P - _BY_ROUNDING)
        found_P: FloatArray = self.place_C[np.minimum(number_P, _CELLS - 1)]
        return found_P

    def chance_of_at_most(self, place: float) -> float:
        """Probability of at most a place."""
        cell = self.place_C[1] - self.place_C[0]
        number = int(np.searchsorted(self.place_C, place + 1e-6 * cell, side="right"))
        return float(self.below_C[number - 1]) if number else 0.0


@dataclass(frozen=True, eq=False)
class Mixtures:
    """What comes out when n things are drawn n times with replacement.

    Attributes:
        weight_WS: share of each thing in each of the W mixtures.
        chance_W: how likely each mixture is.
    """

    weight_WS: FloatArray
    chance_W: FloatArray

    @classmethod
    def of(cls, n: int) -> Self:
        """All (2n - 1 over n) mixtures of n things."""
        drawn = itertools.combinations_with_replacement(range(n), n)
        count_WS = np.array([np.bincount(things, minlength=n) for things in drawn], dtype=np.float64)
        orders = [math.factorial(n) / math.prod(math.factorial(int(times)) for times in row) for row in count_WS]
        return cls(count_WS / n, np.array(orders) / float(n) ** n)


def first_bounds(
    chances: Callable[[FloatArray], FloatArray],
    wanted: FloatArray,
    low: FloatArray,
    high: FloatArray,
    middle: FloatArray,
    spread: FloatArray,
) -> FloatArray:
    """The first bounds that have at least the wanted chances below them.

    Args:
        chances: of bounds, rising with each of them; all arrays are of its shape or stretch to it.
        wanted: chances.
        low, high: the bounds lie in between.
        middle, spread: of a normal distribution that is near.
    """
    from scipy.special import ndtri

    score = ndtri(wanted)
    bound = np.clip(middle + score * spread, low, high)
    for attempt in range(_ATTEMPTS):
        chance = chances(bound)
        reaches, is_found = chance >= wanted - _BY_ROUNDING, np.abs(chance - wanted) <= _BY_ROUNDING
        low, high = np.where(reaches, low, bound), np.where(reaches, bound, high)
        if (is_found | (high - low <= _BY_ROUNDING * spread)).all():
            break
        # On a smooth curve normal scores are nearly a line; a step is found by halving.
        guess = bound - (ndtri(np.clip(chance, 1e-9, 1 - 1e-9)) - score) * spread
        is_guess = (guess > low) & (guess < high) & (attempt < _GUESSES)
        bound = np.where(is_found, bound, np.where(is_guess, guess, (low + high) / 2))
    return high


class SumsOfDraws:
    """M sums, each of n independent draws with replacement from n values."""

    def __init__(self, tables: Sequence[tuple[FloatArray, LongArray]]) -> None:
        """Each table holds the distinct values and how many draws in n have each; one whose values are all equal has a spread of 0."""
        self._n = np.array([int(size_G.sum()) for _, size_G in tables], dtype=np.int64)
        self._start = np.concatenate([[0], np.cumsum([len(value_G) for value_G, _ in tables])]).astype(np.int64)
        value_E = np.concatenate([value_G for value_G, _ in tables])
        table_E = np.repeat(np.arange(len(tables)), np.diff(self._start))
        self._chance_E = np.concatenate([size_G for _, size_G in tables]) / self._n[table_E]
        self._mean_M = self._added(self._chance_E * value_E)
        centred_E = value_E - self._mean_M[table_E]
        self._least_M, self._most_M = (end.reduceat(value_E, self._start[:-1]) for end in (np.minimum, np.maximum))
        largest_M = np.maximum(np.abs(self._least_M), np.abs(self._most_M))
        self._spread_M = np.sqrt(self._n * self._added(self._chance_E * centred_E**2))
        self._spread_M[self._spread_M <= 1e-12 * self._n * largest_M] = 0.0
        safe_M = np.where(self._spread_M > 0, self._spread_M, 1.0)
        self._value_E = centred_E / safe_M[table_E]
        self._series = Series.of(self._of_one_draw() ** self._n[:, None])

    def _of_one_draw(self) -> ComplexArray:
        """(M, J) characteristic functions; frequencies are multiples of the first, so that each turn is the one before times the first."""
        first_E = np.exp(1j * FREQUENCIES[0] * self._value_E)
        turned_E, of_one_JM = self._chance_E.astype(np.complex128), np.empty((len(FREQUENCIES), len(self._n)), dtype=np.complex128)
        for of_one_M in of_one_JM:
            turned_E *= first_E
            of_one_M[:] = np.add.reduceat(turned_E, self._start[:-1])
        return of_one_JM.T

    def _added(self, entries: FloatArray) -> FloatArray:
        added: FloatArray = np.add.reduceat(entries, self._start[:-1], axis=-1)
        return added

    def _steps(self, number: int) -> Steps:
        part = slice(self._start[number], self._start[number + 1])
        return Steps.of(self._value_E[part], self._chance_E[part], int(self._n[number]))

    def _with_steps(self) -> list[int]:
        return np.flatnonzero(~self._series.is_smooth_M & (self._spread_M > 0)).tolist()

    def mean_quantiles(self, chance_P: FloatArray) -> FloatArray:
        """(M, P) values that the mean of the draws of each sum stays at or below with each probability."""
        place_MP = self._series.quantiles(chance_P)
        for number in self._with_steps():
            place_MP[number] = self._steps(number).quantiles(chance_P)
        found_MP = np.round(self._mean_M[:, None] + place_MP * (self._spread_M / self._n)[:, None], PLACES)
        return np.clip(found_MP, self._least_M[:, None], self._most_M[:, None])

    def smooth(self) -> LongArray:
        """Numbers of the sums that have a smooth distribution."""
        return np.flatnonzero(self._series.is_smooth_M & (self._spread_M > 0))

    def chances_of_at_most_zero(self) -> FloatArray:
        """(M,) probability that each sum is 0 or less."""
        safe_M = np.where(self._spread_M > 0, self._spread_M, 1.0)
        place_M = -self._n * self._mean_M / safe_M
        below_M: FloatArray = self._series.chances(np.clip(place_M, -_WINDOW / 2, _WINDOW / 2)[:, None])[0][:, 0]
        for number in self._with_steps():
            below_M[number] = self._steps(number).chance_of_at_most(float(place_M[number]))
        return np.where(self._spread_M > 0, np.clip(below_M, 0.0, 1.0), self._mean_M <= 1e-12 * np.abs(self._mean_M).max(initial=0.0))
