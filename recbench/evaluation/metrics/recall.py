"""Recall: share of a query's targets among the first k (baselines.md, 6.7)."""

from typing import TYPE_CHECKING

from recbench.evaluation.metrics.metric import Metric

if TYPE_CHECKING:
    from recbench.core.ragged import LongArray
    from recbench.evaluation.metrics.metric import FloatArray, ShortArray


def hits(rank: "ShortArray", offsets: "LongArray", k: int) -> "LongArray":
    """How many targets of each query stand among the first k, (n,) int64."""
    import numpy as np

    found: LongArray = np.add.reduceat(((rank >= 0) & (rank < k)).astype(np.int64), offsets[:-1])
    return found


def _recall(rank: "ShortArray", offsets: "LongArray", k: int) -> "FloatArray":
    import numpy as np

    share: FloatArray = hits(rank, offsets, k) / np.diff(offsets)
    return share


RECALL = Metric("recall", "Recall", _recall)
