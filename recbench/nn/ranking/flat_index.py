"""The k nearest items by a flat index of faiss: exact, and in the one order that `recbench.nn.ranking.topk` promises."""

import faiss
import numpy as np
import torch
from torch import Tensor

from recbench.core import Queries, Rankings
from recbench.nn.ranking.topk import full_catalogue_topk

# B queries, I items, K length of a list, N candidates of a query, D width

_QUERIES_AT_A_TIME = 1024
_CLOSE = 1e-6
"""Relative difference of two scores that different orders of summation can make."""


def flat_index_topk(query_vectors: Tensor, item_vectors: Tensor, queries: Queries, k: int) -> Rankings:
    """The k items with the largest inner product with each query vector, in each view asked for.

    The index is asked for as many items more as the longest history excludes, so none that belongs into a list can be lost. It promises no
    order among equal scores: where the last candidate scores as the last of the list does, or nearly, that query is ranked by
    `full_catalogue_topk` instead.

    Args:
        query_vectors: (B, D) float32.
        item_vectors: (I, D) float32.
        queries: whose histories `unseen` excludes.
        k: length of the lists; shorter catalogues leave -1 at the end.
    """
    query_BD, item_ID = (np.ascontiguousarray(part.detach().float().cpu().numpy()) for part in (query_vectors, item_vectors))
    index = faiss.IndexFlatIP(item_ID.shape[1])
    index.add(item_ID)
    items = np.full((len(queries.views), len(queries), k), -1, dtype=np.int32)
    scores = np.full((len(queries.views), len(queries), k), -np.inf, dtype=np.float32)
    open_rows = []
    for start in range(0, len(queries), _QUERIES_AT_A_TIME):
        rows = np.arange(start, min(start + _QUERIES_AT_A_TIME, len(queries)))
        histories = queries.histories.take(rows)
        n_asked = min(len(item_ID), k + 1 + int(histories.lengths.max(initial=0)))
        score_BN, item_BN = index.search(query_BD[rows], n_asked)
        order_BN = np.lexsort((item_BN, -score_BN), axis=1)
        score_BN, item_BN = np.take_along_axis(score_BN, order_BN, 1), np.take_along_axis(item_BN, order_BN, 1)
        for place, row in enumerate(rows):
            for v, view in enumerate(queries.views):
                stays_N = ~np.isin(item_BN[place], histories[place]) if view == "unseen" else np.ones(n_asked, bool)
                item_N, score_N = item_BN[place][stays_N], score_BN[place][stays_N]
                n_listed = min(k, len(item_N))
                items[v, row, :n_listed], scores[v, row, :n_listed] = item_N[:n_listed], score_N[:n_listed]
                is_cut = n_asked < len(item_ID) and n_listed > 0
                if is_cut and score_N[n_listed - 1] - score_BN[place, -1] <= _CLOSE * abs(score_BN[place, -1]):
                    open_rows.append(row)
    again = np.unique(np.array(open_rows, np.int64))
    if len(again):
        exact = full_catalogue_topk(torch.from_numpy(query_BD[again]), torch.from_numpy(item_ID), queries.take(again), k)
        items[:, again], scores[:, again] = exact.items, exact.scores
    return Rankings(queries.views, items, scores)
