"""The lists that nobody beats on average: the likeliest items first, where the probability of each next item is known."""

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import Histories, IntArray
from recbench.core.ranking import UNSEEN, Rankings, View
from recbench.evaluation.metrics import METRICS

FloatArray = NDArray[np.float64]


def best_lists(chance_BI: FloatArray, histories: Histories, views: tuple[View, ...], k: int) -> Rankings:
    """The k likeliest items of each of B queries, the smaller row first where two are equally likely.

    Args:
        chance_BI: (B, n_items) probability of each item as the next one.
        histories: of the queries; `unseen` leaves their items out.
        views: which lists are wanted.
        k: length of the lists; at most `n_items`.
    """
    lists, scores = [], []
    for view in views:
        score_BI = chance_BI.copy()
        if view == UNSEEN:
            score_BI[histories.row_of_entry(), histories.item] = -np.inf
        best_BK = np.argsort(-score_BI, axis=1, kind="stable")[:, :k]
        score_BK = np.take_along_axis(score_BI, best_BK, axis=1)
        lists.append(np.where(np.isneginf(score_BK), -1, best_BK))
        scores.append(score_BK)
    return Rankings(views, np.stack(lists).astype(np.int32), np.stack(scores).astype(np.float32))


def expected_values(chance_BI: FloatArray, items_BK: IntArray, metric: str) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of a metric for lists of items, (B,) each, where a query has one target that is drawn with these probabilities.

    Args:
        chance_BI: (B, n_items) probability of each item as the target.
        items_BK: lists, best first; -1 where one has ended.
        metric: such as `ndcg@10`.

    Raises:
        BadRequest: no such metric.
    """
    found, k = METRICS.parse(metric)
    k = min(k, items_BK.shape[1])
    place_value_K = found.of_queries(np.arange(k, dtype=np.int16), np.arange(k + 1, dtype=np.int64), k)
    items = items_BK[:, :k]
    chance_BK = np.where(items >= 0, np.take_along_axis(chance_BI, np.maximum(items, 0), axis=1), 0.0)
    mean_B = chance_BK @ place_value_K
    return mean_B, np.maximum(chance_BK @ place_value_K**2 - mean_B**2, 0.0)
