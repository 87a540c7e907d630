"""Weights of places, looked up by rank."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbench.evaluation.metrics.metric import FloatArray, ShortArray


@lru_cache
def discounts(n: int) -> "FloatArray":
    """1 / log2(1 + place) for places 1 to n, (n,) float64."""
    import numpy as np

    # math.log2 and not np.log2: NumPy's answer depends on the vector instructions of the machine.
    values = np.array([1.0 / math.log2(place + 1) for place in range(1, n + 1)], dtype=np.float64)
    values.setflags(write=False)
    return values


def at_rank(value_of_place: "FloatArray", rank: "ShortArray") -> "FloatArray":
    """`value_of_place[rank]`, 0 for a miss and for places behind the last one."""
    import numpy as np

    k = len(value_of_place)
    padded = np.append(value_of_place, 0.0)
    values: FloatArray = padded[np.where((rank < 0) | (rank >= k), k, rank)]
    return values
