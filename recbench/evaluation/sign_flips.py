"""How likely a sum of differences with random signs is as far from 0 as the one seen, without drawing signs."""

import math

import numpy as np

from recbench.core.ragged import LongArray
from recbench.evaluation.sums_of_draws import FREQUENCIES, FloatArray, Series

SMALLEST = 1e-12
"""No smaller p value is given: below it the sum of a series is rounding alone."""
_MOST_CELLS = 1 << 15
_MOST_SUMS = 1 << 16
_BY_ROUNDING = 1e-9


def sign_flip_chance(size_K: FloatArray, times_K: LongArray, seen: float) -> float:
    """Probability that a sum of numbers with random signs is at least as far from 0 as `seen`.

    Exact where the numbers are few, or few multiples of the smallest one; by a Fourier series where they are many.

    Args:
        size_K: distinct sizes of the numbers, above 0, rising.
        times_K: how many numbers have each size.
        seen: the sum seen, 0 or above.
    """
    if not len(size_K):
        return 1.0
    if math.prod((times_K + 1).tolist()) <= _MOST_SUMS:
        sums, chances = _all_sums(size_K, times_K)
        # Sums of the same numbers in another order differ by rounding.
        return float(np.clip(chances[np.abs(sums) >= seen * (1 - _BY_ROUNDING)].sum(), SMALLEST, 1.0))
    unit_K = np.rint(size_K / size_K[0])
    are_whole = bool((np.abs(size_K / size_K[0] - unit_K) <= _BY_ROUNDING * unit_K).all())
    if are_whole and 2 * int(unit_K @ times_K) < _MOST_CELLS:
        return _of_whole_numbers(unit_K.astype(np.int64), times_K, round(seen / float(size_K[0])))
    return _of_large_and_small(size_K, times_K, seen)


def _of_large_and_small(size_K: FloatArray, times_K: LongArray, seen: float) -> float:
    """By a series; numbers that are too large for one are put aside, and all their sums are gone through."""
    n_small = len(size_K)
    while True:
        small_K, n_of_K = size_K[:n_small], times_K[:n_small]
        spread = float(np.sqrt(n_of_K @ small_K**2))
        series = Series.of((np.cos(FREQUENCIES[:, None] * small_K / spread) ** n_of_K).prod(axis=1)[None].astype(np.complex128))
        if series.is_smooth_M[0] or n_small == 1 or math.prod((times_K[n_small - 1 :] + 1).tolist()) > _MOST_SUMS:
            break
        n_small -= 1
    sums, chances = _all_sums(size_K[n_small:], times_K[n_small:])
    place_2S = np.clip(np.stack([seen - sums, -seen - sums]) / spread, -10.0, 10.0)
    below_seen, below_opposite = np.clip(series.chances(place_2S.reshape(1, -1))[0].reshape(2, -1), 0.0, 1.0)
    return float(np.clip(chances @ (1.0 - below_seen + below_opposite), SMALLEST, 1.0))


def _all_sums(size_K: FloatArray, times_K: LongArray) -> tuple[FloatArray, FloatArray]:
    """Every sum that signs can give, and how likely it is."""
    sums, chances = np.zeros(1), np.ones(1)
    for size, times in zip(size_K.tolist(), times_K.tolist(), strict=True):
        plus = np.arange(times + 1)
        of_size = np.array([math.comb(times, number) / 2**times for number in plus.tolist()])
        sums = np.add.outer(sums, (2 * plus - times) * size).ravel()
        chances = np.multiply.outer(chances, of_size).ravel()
    return sums, chances


def _of_whole_numbers(unit_K: LongArray, times_K: LongArray, seen: int) -> float:
    n_cells = 1 << int(2 * (unit_K @ times_K) + 2).bit_length()
    of_sum_C = np.ones(n_cells // 2 + 1)
    for unit, times in zip(unit_K.tolist(), times_K.tolist(), strict=True):
        of_sum_C *= np.cos(2 * np.pi / n_cells * (unit * np.arange(len(of_sum_C)) % n_cells)) ** times
    chance_C = np.fft.irfft(of_sum_C, n_cells)
    inside = chance_C[0] + 2 * chance_C[1:seen].sum() if seen > 0 else 0.0
    return float(np.clip(1.0 - inside, SMALLEST, 1.0))
