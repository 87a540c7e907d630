"""A metric of the tests: whether the very first place holds a target, whatever the number of places."""

import numpy as np

from recbench.core.ragged import LongArray
from recbench.evaluation import Metric


def _first_hit(rank: np.ndarray, offsets: LongArray, k: int) -> np.ndarray:
    return (np.add.reduceat(rank == 0, offsets[:-1]) > 0).astype(np.float64)


METRIC = Metric("first_hit", "First hit", _first_hit)
