"""Mean reciprocal rank: 1 over the place of the first target, 0 where none stands among the first k."""

from typing import TYPE_CHECKING

from recbench.evaluation.metrics.metric import Metric
from recbench.evaluation.metrics.places import at_rank

if TYPE_CHECKING:
    from recbench.core.ragged import LongArray
    from recbench.evaluation.metrics.metric import FloatArray, ShortArray


def _mrr(rank: "ShortArray", offsets: "LongArray", k: int) -> "FloatArray":
    import numpy as np

    best: FloatArray = np.maximum.reduceat(at_rank(1.0 / np.arange(1, k + 1), rank), offsets[:-1])
    return best


MRR = Metric("mrr", "MRR", _mrr)
