"""Metrics by name. A metric is one file of this package and one line below, or an entry point of the group `recbench.metrics`."""

from recbench.evaluation.metrics.hit_rate import HIT_RATE
from recbench.evaluation.metrics.metric import Metric, MetricRegistry
from recbench.evaluation.metrics.mrr import MRR
from recbench.evaluation.metrics.ndcg import NDCG
from recbench.evaluation.metrics.recall import RECALL

METRICS = MetricRegistry(
    RECALL,
    HIT_RATE,
    NDCG,
    MRR,
)
"""The metrics that records can hold."""

__all__ = ["HIT_RATE", "METRICS", "MRR", "NDCG", "RECALL", "Metric", "MetricRegistry"]
