"""Hit rate: whether any target of a query stands among the first k. For one target it is the recall."""

import numpy as np

from recbench.core.ragged import LongArray
from recbench.evaluation.metrics.metric import FloatArray, Metric, ShortArray
from recbench.evaluation.metrics.recall import hits


def _hit_rate(rank: ShortArray, offsets: LongArray, k: int) -> FloatArray:
    return (hits(rank, offsets, k) > 0).astype(np.float64)


HIT_RATE = Metric("hit_rate", "Hit rate", _hit_rate, needs_sets=True)
