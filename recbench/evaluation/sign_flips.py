"""The law of a sum of differences whose signs are tossed: what a sign-flip test comes to after infinitely many permutations."""

import math

import numpy as np

from recbench.core.ragged import LongArray
from recbench.evaluation.sum_law import FloatArray, shared_step

SMALLEST_P = 1e-9
"""No p-value is given below this: the sums of a Fourier series are not more exact."""
_MOST_SUMS, _MOST_PRODUCTS = 1 << 15, 1 << 20
"""Of half of the users: how many different sums are kept, and how many are looked at on the way."""
_SAME = 1e-12
"""Sums that differ by a smaller share of the largest are the same."""
_DEVIATIONS = 20.0
_FIRST_TERMS, _MOST_TERMS = 1 << 7, 1 << 13
_NEGLIGIBLE = 1e-14


def chance_as_far(size_G: FloatArray, count_G: LongArray, seen: float) -> float:
    """Chance that the sum of differences with random signs is at least as far from 0 as the one seen, at least `SMALLEST_P`.

    Args:
        size_G: distinct sizes of differences, above 0.
        count_G: users with a difference of each size.
        seen: the sum as it came out; its sign does not matter.
    """
    seen = abs(seen)
    largest = float((size_G * count_G).sum())
    if seen <= _SAME * largest:
        return 1.0
    halves = _halves(size_G, count_G)
    chance = _of_series(size_G, count_G, seen) if halves is None else _of_halves(*halves, seen - _SAME * largest)
    return min(1.0, max(SMALLEST_P, chance))


Sums = tuple[FloatArray, FloatArray]
"""Possible sums in rising order, and the chance of each."""


def _halves(size_G: FloatArray, count_G: LongArray) -> tuple[Sums, Sums] | None:
    """The sums of two halves of the users, whose sum is that of all; None where there are too many."""
    if (np.log2(count_G + 1.0).sum() > 2 * math.log2(_MOST_SUMS)) and (
        (step := shared_step(size_G)) is None or (size_G * count_G).sum() / step > 2 * _MOST_SUMS
    ):
        return None
    halves: list[Sums] = [(np.zeros(1), np.ones(1)), (np.zeros(1), np.ones(1))]
    for size, count in sorted(zip(size_G.tolist(), count_G.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0])):
        smaller = min((0, 1), key=lambda half: len(halves[half][0]))
        sums, chances = halves[smaller]
        if len(sums) * (count + 1) > _MOST_PRODUCTS:
            return None
        added = size * np.arange(-count, count + 1, 2)
        products = np.add.outer(added, sums).ravel()
        order = products.argsort(kind="stable")
        products = products[order]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(products) > _SAME * float((size_G * count_G).sum())]))
        merged = np.add.reduceat(np.multiply.outer(_heads(count), chances).ravel()[order], starts)
        if len(starts) > _MOST_SUMS:
            return None
        halves[smaller] = products[starts], merged
    return halves[0], halves[1]


def _heads(count: int) -> FloatArray:
    """Chances of 0, 1 ... heads among fair coins, (count + 1,)."""
    middle = count // 2
    steps = np.arange(middle, count)
    up = np.cumprod((count - steps) / (steps + 1.0))
    steps = np.arange(middle, 0, -1)
    down = np.cumprod(steps / (count - steps + 1.0))
    relative = np.concatenate([down[::-1], [1.0], up])
    chances: FloatArray = relative / math.fsum(relative.tolist())
    return chances


def _of_halves(one: Sums, other: Sums, least: float) -> float:
    (sums, chances), (others, other_chances) = one, other
    above = np.concatenate([np.cumsum(other_chances[::-1])[::-1], [0.0]])
    # The law is symmetric: as much lies below -least as above least.
    return 2.0 * float((chances * above[np.searchsorted(others, least - sums)]).sum())


def _of_series(size_G: FloatArray, count_G: LongArray, seen: float) -> float:
    """As a Fourier series of the distribution function, for laws without visible steps."""
    deviation = math.sqrt(float((count_G * size_G**2).sum()))
    period = max(_DEVIATIONS * deviation, 2 * seen)
    total, first = 1.0 - 2 * seen / period, 1
    n_terms = _FIRST_TERMS
    while first < _MOST_TERMS:
        number_J = np.arange(first, first + n_terms)
        angle_J = 2 * math.pi / period * number_J
        cosine_JG = np.cos(np.multiply.outer(angle_J, size_G))
        log_J = (count_G * np.log(np.maximum(np.abs(cosine_JG), 1e-300))).sum(axis=1)
        sign_J = 1.0 - 2.0 * (((cosine_JG < 0) * count_G).sum(axis=1) % 2)
        characteristic_J = sign_J * np.exp(log_J)
        total -= float((2 / (math.pi * number_J) * np.sin(angle_J * seen) * characteristic_J).sum())
        if np.abs(characteristic_J[-n_terms // 2 :]).max() < _NEGLIGIBLE:
            break
        first += n_terms
    return total
