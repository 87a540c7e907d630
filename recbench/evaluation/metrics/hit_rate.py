"""Hit rate: whether any target of a query stands among the first k. For one target it is the recall."""

from typing import TYPE_CHECKING

from recbench.evaluation.metrics.metric import Metric
from recbench.evaluation.metrics.recall import hits

if TYPE_CHECKING:
    from recbench.core.ragged import LongArray
    from recbench.evaluation.metrics.metric import FloatArray, ShortArray


def _hit_rate(rank: "ShortArray", offsets: "LongArray", k: int) -> "FloatArray":
    import numpy as np

    return (hits(rank, offsets, k) > 0).astype(np.float64)


HIT_RATE = Metric("hit_rate", "Hit rate", _hit_rate, needs_sets=True)
