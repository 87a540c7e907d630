"""The law of a sum over n users who are drawn with replacement from n users: what a bootstrap comes to after infinitely many resamples.

A sum of n independent draws has the n-th power of the characteristic function of one draw. It is computed on a grid by two Fourier
transforms. Where all values are multiples of one number, as with Recall, the grid is made of these multiples and the law is exact. Else
a value is divided among the points next to it so that its mean stays (and its second and third moment, where the law is smooth).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray

FloatArray = NDArray[np.float64]

# G distinct values of users, L points of the grid

_DEVIATIONS, _FARTHEST = 16.0, 8.0
"""Width of the grid: so many standard deviations of the sum, and so many times the farthest value. Less than 1e-10 lies outside."""
_SMOOTH_POINTS, _STEPPED_POINTS, _MOST_POINTS = 1 << 10, 1 << 12, 1 << 16
_STEPS_PER_VALUE = 10.0
"""Steps of a grid in a value of usual size, where the law has steps of its own."""
_OUTCOMES = 1e5
"""A law with fewer likely outcomes than this has visible steps."""
_DIVISORS = np.arange(1.0, 13.0)
_FEW = 8
_SAME = 1e-9
"""Values that differ by a smaller share of a step are the same."""
_LEAST_LOG, _LEAST_SQUARE = -40.0, 1e-300
"""Logarithm of the size from which on a frequency counts; what stands for a size of 0, squared."""
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class SumLaw:
    """The distribution of a sum: `base` and a whole number of steps.

    Attributes:
        base: what the sum is where each user has the usual value.
        step: distance of two points of the grid; 0 where the sum is always `base`.
        first: number of the lowest point, in steps from `base`.
        cumulated_L: chance of a sum up to each point.
        is_smooth: the sum lies anywhere between the points, half of a point's chance on each side of it; else on the points.
    """

    base: float
    step: float
    first: int
    cumulated_L: FloatArray
    is_smooth: bool

    def quantile(self, level: float) -> float:
        """The smallest sum that is not exceeded with a chance of `level` at least."""
        place = float(np.searchsorted(self.cumulated_L, level - _ROUNDING))
        if self.is_smooth:
            below, above = self.cumulated_L[int(place) - 1 : int(place) + 1].tolist()
            place += (level - below) / (above - below) - 0.5
        found = self.base + self.step * (self.first + place)
        return 0.0 if abs(found) < _SAME * self.step else found

    def chance_up_to(self, most: float) -> float:
        """Chance that the sum is at most this."""
        if self.step == 0:
            return float(most >= self.base)
        place = (most - self.base) / self.step - self.first
        if self.is_smooth:
            return float(np.interp(place - 0.5, np.arange(len(self.cumulated_L)), self.cumulated_L, left=0.0, right=1.0))
        whole = math.floor(place + _SAME)
        return 0.0 if whole < 0 else float(self.cumulated_L[min(whole, len(self.cumulated_L) - 1)])


def law_of_sum(value_G: FloatArray, size_G: LongArray) -> SumLaw:
    """The law of the sum of n draws with replacement from n users, `size_G` of whom have each value.

    Args:
        value_G: distinct or not; those that differ by no more than rounding are the same.
        size_G: users with each value; n is their sum.
    """
    order_G = value_G.argsort(kind="stable")
    ordered_G = value_G[order_G]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered_G) > _ROUNDING * np.abs(ordered_G[[0, -1]]).max()]))
    distinct_G, count_G = ordered_G[starts], np.add.reduceat(size_G[order_G].astype(np.float64), starts)
    n = float(count_G.sum())
    usual = int(count_G.argmax())
    # Distances from the value that most users have: a grid around it keeps it, and in most tests it is no hit, or no difference.
    base, is_other_G = n * float(distinct_G[usual]), np.arange(len(distinct_G)) != usual
    off_G, count_G = (distinct_G - distinct_G[usual])[is_other_G], count_G[is_other_G]
    if not len(off_G):
        return SumLaw(base, 0.0, 0, np.ones(1), is_smooth=False)
    mean, square = (float((count_G * off_G**power).sum()) for power in (1, 2))
    width = _DEVIATIONS * np.sqrt(max(square - mean**2 / n, 0.0)) + _FARTHEST * float(np.abs(off_G).max())
    step, n_points, is_smooth = _grid(off_G, count_G, float(width))
    mass_L = _divided(off_G / step, count_G / n, n_points, is_smooth)
    mass_L[0] += 1.0 - count_G.sum() / n
    first = math.floor(mean / step) - n_points // 2
    chance_L = np.fft.irfft(_power(np.fft.rfft(mass_L), n), n_points)
    start = first % n_points
    return SumLaw(base, step, first, np.cumsum(np.concatenate([chance_L[start:], chance_L[:start]])), is_smooth)


def _power(one_L: NDArray[np.complex128], n: float) -> NDArray[np.complex128]:
    """The n-th power, 0 where it is nearly none; by real functions, which are several times quicker than complex ones."""
    log_L = n / 2 * np.log(np.maximum(one_L.real**2 + one_L.imag**2, _LEAST_SQUARE))
    place = np.flatnonzero(log_L > _LEAST_LOG)
    size, angle = np.exp(log_L[place]), n * np.arctan2(one_L.imag[place], one_L.real[place])
    power_L = np.zeros(len(one_L), dtype=np.complex128)
    power_L.real[place], power_L.imag[place] = size * np.cos(angle), size * np.sin(angle)
    return power_L


def _grid(off_G: FloatArray, count_G: FloatArray, width: float) -> tuple[float, int, bool]:
    """Step, number of points, and whether the law is smooth."""
    shared = shared_step(off_G)
    if shared is not None and width / shared <= _MOST_POINTS:
        return shared, 1 << int(np.ceil(np.log2(width / shared))), False
    if np.log(np.maximum(2 * np.pi * count_G, 1.0)).sum() / 2 > np.log(_OUTCOMES):
        return width / _SMOOTH_POINTS, _SMOOTH_POINTS, True
    typical = np.sqrt((count_G * off_G**2).sum() / count_G.sum())
    n_points = 1 << int(np.ceil(np.log2(max(_STEPPED_POINTS, min(_STEPS_PER_VALUE * width / typical, _MOST_POINTS)))))
    return width / n_points, n_points, False


def shared_step(off_G: FloatArray) -> float | None:
    """The number that all values, none of which is 0, are multiples of; None where there is none, or it is far below all of them."""
    smallest = np.abs(off_G).min()
    few_GD = off_G[:_FEW, None] / smallest * _DIVISORS
    if not (np.abs(few_GD - np.rint(few_GD)) < _SAME).all(axis=0).any():
        return None
    multiple_GD = off_G[:, None] / smallest * _DIVISORS
    fits_D = (np.abs(multiple_GD - np.rint(multiple_GD)) < _SAME).all(axis=0)
    return float(smallest / _DIVISORS[fits_D.argmax()]) if fits_D.any() else None


def _divided(place_G: FloatArray, share_G: FloatArray, n_points: int, is_smooth: bool) -> FloatArray:
    """Shares at the whole numbers next to each place, modulo the number of points, (L,)."""
    whole_G = np.floor(place_G + _SAME)
    f_G = place_G - whole_G
    if is_smooth:
        # Cubic interpolation (Lagrange), so that moments up to the third stay.
        part_GW = np.stack(
            [-f_G * (f_G - 1) * (f_G - 2) / 6, (f_G**2 - 1) * (f_G - 2) / 2, -f_G * (f_G + 1) * (f_G - 2) / 2, f_G * (f_G**2 - 1) / 6], 1
        )
        steps = np.arange(-1, 3)
    else:
        part_GW, steps = np.stack([1 - f_G, f_G], 1), np.arange(2)
    place_GW = (whole_G.astype(np.int64)[:, None] + steps) % n_points
    divided_L: FloatArray = np.zeros(n_points)
    np.add.at(divided_L, place_GW, share_G[:, None] * part_GW)
    return divided_L
