"""NDCG: discounted gain of the targets among the first k, over the best possible one of min(k, number of targets)."""

from typing import TYPE_CHECKING

from recbench.evaluation.metrics.metric import Metric
from recbench.evaluation.metrics.places import at_rank, discounts

if TYPE_CHECKING:
    from recbench.core.ragged import LongArray
    from recbench.evaluation.metrics.metric import FloatArray, ShortArray


def _ndcg(rank: "ShortArray", offsets: "LongArray", k: int) -> "FloatArray":
    import numpy as np

    gains = np.add.reduceat(at_rank(discounts(k), rank), offsets[:-1])
    ideal = np.cumsum(discounts(k))
    normalised: FloatArray = gains / ideal[np.minimum(np.diff(offsets), k) - 1]
    return normalised


NDCG = Metric("ndcg", "NDCG", _ndcg)
