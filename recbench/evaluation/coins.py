"""Numbers of heads among fair coins, as `RandomState.binomial` draws them, many times faster where all are few.

NumPy inverts the distribution for up to 60 fair coins: one uniform number per draw, held against one probability after the other. Here
it is looked up in a table, and only where it is next to a step of the distribution held against the probabilities as NumPy does it.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray

FloatArray = NDArray[np.float64]

_MOST_INVERTED = 60
_CELLS = 1 << 12
_NEXT_TO_A_STEP = 1e-9
"""Far more than the steps of the table and of NumPy differ by."""


def heads(coins_G: LongArray, times: int, rng: np.random.RandomState) -> LongArray:
    """The draws of `rng.binomial(coins_G, 0.5, size=(times, G))`, (G, times) int64; `coins_G` are 1 or more."""
    state = rng.get_state(legacy=False)
    drawn_GT = None if coins_G.max(initial=0) > _MOST_INVERTED else _looked_up(coins_G, times, rng)
    if drawn_GT is None:
        rng.set_state(state)
        drawn_GT = rng.binomial(coins_G, 0.5, size=(times, len(coins_G))).T
    return drawn_GT


def _looked_up(coins_G: LongArray, times: int, rng: np.random.RandomState) -> LongArray | None:
    """The draws from one uniform number each; None in the one case of many billions where NumPy would take another."""
    uniform_GT = np.ascontiguousarray(rng.random_sample((times, len(coins_G))).T)
    cell_GT = (uniform_GT * _CELLS).astype(np.intp)
    drawn_GT = np.empty(uniform_GT.shape, dtype=np.int64)
    for drawn_T, coins, uniform_T, cell_T in zip(drawn_GT, coins_G.tolist(), uniform_GT, cell_GT, strict=True):
        step, of_cell, is_plain = _table(coins)
        drawn_T[:] = of_cell[cell_T]
        near = np.flatnonzero(~is_plain[cell_T])
        drawn_T[near] = np.searchsorted(step, uniform_T[near])
        nearest = np.abs(uniform_T[near, None] - step).min(axis=1)
        for place in near[nearest < _NEXT_TO_A_STEP].tolist():
            found = _inverted(coins, float(uniform_T[place]))
            if found is None:
                return None
            drawn_T[place] = found
    return drawn_GT


@lru_cache(maxsize=_MOST_INVERTED)
def _table(coins: int) -> tuple[FloatArray, LongArray, NDArray[np.bool_]]:
    """Steps of the distribution (coins + 1,), the draw of each cell of the unit interval, and whether a cell is far from all steps."""
    step = np.cumsum(_probabilities(coins))
    edge = np.arange(_CELLS + 1) / _CELLS
    first, last = np.searchsorted(step, edge[:-1] - _NEXT_TO_A_STEP), np.searchsorted(step, edge[1:] + _NEXT_TO_A_STEP)
    return step, first.astype(np.int64), first == last


def _probabilities(coins: int) -> list[float]:
    """Of 0, 1, ... heads, one from the other as NumPy computes them."""
    found = [math.exp(coins * math.log(0.5))]
    for place in range(1, coins + 1):
        found.append((coins - place + 1) * 0.5 * found[-1] / (place * 0.5))
    return found


def _inverted(coins: int, uniform: float) -> int | None:
    """How many heads NumPy draws for a uniform number; None where it would draw another number."""
    for place, probability in enumerate(_probabilities(coins)):
        if uniform <= probability:
            return place
        uniform -= probability
    return None
