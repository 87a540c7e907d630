"""The k best items of the whole catalogue for each query: in blocks, in bounded memory, in one exact order.

The order is total: higher score first, at equal score the smaller item row first, on every device. `torch.topk` promises no order among
equal scores and does not say which of them it takes, so rows in which scores tie are selected once more by keys that are never equal.
Both views come out of one pass: the best items outside the history are selected, and only items of the history that score high enough
to stand among them are merged in for the view `keep`.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from recbench.core import Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.core.ranking import KEEP, UNSEEN
from recbench.nn.compute.projection import product

# B queries, b queries of one block, I items, i items of one block, K length of a list, G groups of items, D width, H items of histories

_BLOCK_BYTES = 32 * 2**20
_MAX_BLOCK_ITEMS = 2**16
_GROUP = 16

ScoreBlock = Callable[[LongArray], Tensor]
"""Scores (b, I) float32 of every item for the queries in rows (b,)."""


def full_catalogue_topk(
    query_vectors: Tensor, item_vectors: Tensor, queries: Queries, k: int, *, block_bytes: int = _BLOCK_BYTES
) -> Rankings:
    """The k items with the largest inner product with each query vector, in each view asked for.

    Args:
        query_vectors: (B, D), row b for query b, on any device.
        item_vectors: (I, D), row i for item i, on the same device.
        queries: whose histories `unseen` excludes.
        k: length of the lists; shorter catalogues leave -1 at the end.
        block_bytes: how large the block of scores may be that stands in memory at a time.

    Returns:
        Rankings with float32 scores. A score that is NaN stands first in its list, so that whoever checks the list sees it.
    """
    if len(query_vectors) != len(queries):
        raise ValueError(f"{len(query_vectors)} query vectors were given for {len(queries)} queries. Give one for each.")
    query_BD, item_ID = query_vectors.detach().float(), item_vectors.detach().float()
    n_items = len(item_ID)
    width = max(1, min(n_items, _MAX_BLOCK_ITEMS))

    def score_blocks(rows: LongArray) -> Iterator[Tensor]:
        query_bD = query_BD[int(rows[0]) : int(rows[-1]) + 1]
        for start in range(0, n_items, width):
            yield product(query_bD, item_ID[start : start + width])

    return _rank(score_blocks, queries, k, n_items, max(1, block_bytes // (4 * width)))


def topk_from_scores(score_block: ScoreBlock, queries: Queries, k: int, n_items: int, *, block_bytes: int = _BLOCK_BYTES) -> Rankings:
    """The k items with the largest scores of each query, in each view asked for, from a function that scores all items.

    Args:
        score_block: is given row numbers (b,) of `queries` and returns their scores (b, n_items), which are overwritten here.
        queries: whose histories `unseen` excludes.
        k: length of the lists; shorter catalogues leave -1 at the end.
        n_items: size of the catalogue.
        block_bytes: how large a block of scores may be; it sets how many rows are asked for at a time.

    Returns:
        Rankings with float32 scores. An item with score -inf is never listed. A score that is NaN stands first in its list.
    """

    def score_blocks(rows: LongArray) -> Iterator[Tensor]:
        score_bI = score_block(rows).detach().float()
        if score_bI.shape != (len(rows), n_items):
            raise ValueError(
                f"The scores have shape {tuple(score_bI.shape)}, not {(len(rows), n_items)}. Return one score per query and item."
            )
        yield score_bI

    return _rank(score_blocks, queries, k, n_items, max(1, block_bytes // (4 * max(1, n_items))))


def _rank(score_blocks: Callable[[LongArray], Iterator[Tensor]], queries: Queries, k: int, n_items: int, max_rows: int) -> Rankings:
    """Rankings from blocks of scores that cover the items in ascending order."""
    n_queries = len(queries)
    items = np.full((len(queries.views), n_queries, k), -1, dtype=np.int32)
    scores = np.full((len(queries.views), n_queries, k), -np.inf, dtype=np.float32)
    excluded = _distinct_pairs(queries, n_items) if UNSEEN in queries.views else None
    for start in range(0, n_queries, max_rows):
        rows = np.arange(start, min(start + max_rows, n_queries))
        pairs = None if excluded is None else _pairs_of(excluded, rows, n_items)
        best = _best_outside(score_blocks(rows), k, pairs)
        for v, view in enumerate(queries.views):
            score_bK, item_bK = best.merged() if view == KEEP else (best.score_bK, best.item_bK)
            kept = score_bK.shape[1]
            listed = score_bK.cpu().numpy()
            scores[v, rows, :kept] = listed
            items[v, rows, :kept] = np.where(listed == -np.inf, -1, item_bK.cpu().numpy())
    return Rankings(queries.views, items, scores)


def _distinct_pairs(queries: Queries, n_items: int) -> LongArray:
    """Every (query, item of its history) once, as query * n_items + item, ascending."""
    pairs = queries.histories.row_of_entry() * n_items + queries.histories.item
    return np.unique(pairs)


def _pairs_of(pairs: LongArray, rows: LongArray, n_items: int) -> tuple[LongArray, LongArray]:
    """Row within the block and item of every pair whose query is one of the consecutive `rows`; each (H,)."""
    low, high = np.searchsorted(pairs, [rows[0] * n_items, (rows[-1] + 1) * n_items])
    row, item = np.divmod(pairs[low:high], n_items)
    return row - rows[0], item


class _Best:
    """The K best items outside the histories, and what the histories' items score."""

    def __init__(self, score_bK: Tensor, item_bK: Tensor, history: tuple[Tensor, Tensor, Tensor] | None) -> None:
        self.score_bK, self.item_bK, self._history = score_bK, item_bK, history

    def merged(self) -> tuple[Tensor, Tensor]:
        """Scores and items of the K best of all items, histories included."""
        if self._history is None:
            return self.score_bK, self.item_bK
        row_H, item_H, score_H = self._history
        k = self.score_bK.shape[1]
        # Written as "not below", so that NaN gets in and is seen.
        enters_H = ~(score_H < self.score_bK[row_H, -1]) & (score_H != -torch.inf)
        row_H, item_H, score_H = row_H[enters_H], item_H[enters_H], score_H[enters_H]
        if len(row_H) == 0:
            return self.score_bK, self.item_bK
        changed, row_H, count = torch.unique_consecutive(row_H, return_inverse=True, return_counts=True)
        place_H = torch.arange(len(row_H), device=row_H.device) - (count.cumsum(0) - count)[row_H]
        extra = int(count.max())
        score = self.score_bK.new_full((len(changed), k + extra), -torch.inf)
        item = self.item_bK.new_full((len(changed), k + extra), torch.iinfo(self.item_bK.dtype).max)
        score[:, :k], item[:, :k] = self.score_bK[changed], self.item_bK[changed]
        score[row_H, k + place_H], item[row_H, k + place_H] = score_H, item_H
        score, item = _in_order(score, item)
        score_bK, item_bK = self.score_bK.clone(), self.item_bK.clone()
        score_bK[changed], item_bK[changed] = score[:, :k], item[:, :k]
        return score_bK, item_bK


def _best_outside(blocks: Iterator[Tensor], k: int, pairs: tuple[LongArray, LongArray] | None) -> _Best:
    """The k best items of all blocks after the history's items are taken out; all items where `pairs` is None."""
    best: tuple[Tensor, Tensor] | None = None
    start = 0
    history: tuple[Tensor, Tensor, Tensor] | None = None
    for score_bi in blocks:
        if pairs is not None:
            if history is None:
                row_H, item_H = (torch.from_numpy(part).to(score_bi.device) for part in pairs)
                history = row_H, item_H, score_bi.new_empty(len(row_H))
            row_H, item_H, score_H = history
            here = torch.nonzero((item_H >= start) & (item_H < start + score_bi.shape[1])).squeeze(1)
            where = row_H[here], item_H[here] - start
            score_H[here] = score_bi[where]
            score_bi[where] = -torch.inf
        score, column = _exact_topk(score_bi, min(k, score_bi.shape[1]))
        if best is None:
            best = score, column
        else:
            # Blocks ascend and both halves are in order: a stable sort leaves the smaller row first among equals.
            score, item = torch.cat([best[0], score], 1), torch.cat([best[1], column + start], 1)
            score, order = torch.sort(score, dim=1, descending=True, stable=True)
            best = score[:, :k], torch.gather(item, 1, order[:, :k])
        start += score_bi.shape[1]
    if best is None:
        raise ValueError("The catalogue is empty. Rank over at least one item.")
    return _Best(*best, history)


def _exact_topk(score_bI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores (b, k) and columns (b, k) of the k best, in the one order that the module promises."""
    if k == 0:
        return score_bI[:, :0], torch.empty_like(score_bI[:, :0], dtype=torch.int64)
    score, column = _topk(score_bI, min(k + 1, score_bI.shape[1]))
    is_tied_b = (score[:, 1:] == score[:, :-1]).any(1) & ~score[:, 0].isnan()
    # Only where the k-th and the next score are equal was the choice itself open; elsewhere it was the order alone. What scores -inf
    # is not listed, so nobody needs to know which it is.
    is_open_b = is_tied_b & (score[:, -1] == score[:, k - 1]) & (score[:, -1] > -torch.inf) if score.shape[1] > k else None
    score, column = score[:, :k], column[:, :k]
    if is_open_b is not None:
        rows = torch.nonzero(is_open_b).squeeze(1)
        if len(rows):
            column[rows] = _smallest_at_boundary(score_bI[rows], score[rows], column[rows])
    tied = torch.nonzero(is_tied_b).squeeze(1)
    if len(tied):
        score[tied], column[tied] = _in_order(score[tied], column[tied])
    return score, column


def _smallest_at_boundary(score_bI: Tensor, score_bK: Tensor, column_bK: Tensor) -> Tensor:
    """The selected columns (b, K) with those at the lowest selected score replaced by the smallest columns that have this score."""
    boundary_b1 = score_bK[:, -1:]
    is_above_bK = score_bK > boundary_b1
    column_bK = column_bK.clone()
    found_b = is_above_bK.sum(1)
    rows = torch.arange(len(score_bI), device=score_bI.device)
    start, width = 0, max(256, 2 * score_bK.shape[1])
    # Where many items share the score, the first columns hold enough of them; where few do, every window holds few.
    while len(rows) and start < score_bI.shape[1]:
        is_equal = score_bI[rows, start : start + width] == boundary_b1[rows]
        count = is_equal.sum(1)
        row_N, column_N = torch.nonzero(is_equal, as_tuple=True)
        place_N = torch.arange(len(row_N), device=rows.device) - (count.cumsum(0) - count)[row_N] + found_b[rows][row_N]
        fits_N = place_N < column_bK.shape[1]
        column_bK[rows[row_N[fits_N]], place_N[fits_N]] = column_N[fits_N] + start
        found_b[rows] += count
        rows = rows[found_b[rows] < column_bK.shape[1]]
        start, width = start + width, 2 * width
    return column_bK


def _topk(value_bI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`torch.topk` over long rows, faster: only groups of columns whose maximum is among the k largest maxima are looked into."""
    n_columns = value_bI.shape[1]
    n_groups = n_columns // _GROUP
    if n_groups < 2 * k:
        value, column = torch.topk(value_bI, k, dim=1)
        return value, column
    n_grouped = n_groups * _GROUP
    # Group g holds the columns g, g + G, g + 2G, ...: maxima over an outer dimension run at memory speed.
    max_bG = value_bI[:, :n_grouped].view(-1, _GROUP, n_groups).amax(1)
    group_bK = torch.topk(max_bG, k, dim=1, sorted=False).indices
    candidate = (group_bK[:, None, :] + torch.arange(0, n_grouped, n_groups, device=value_bI.device)[None, :, None]).flatten(1)
    if n_grouped < n_columns:
        rest = torch.arange(n_grouped, n_columns, device=value_bI.device).expand(len(value_bI), -1)
        candidate = torch.cat([candidate, rest], 1)
    value, place = torch.topk(torch.gather(value_bI, 1, candidate), k, dim=1)
    return value, torch.gather(candidate, 1, place)


def _in_order(score: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    """Both sorted within each row: higher score first, at equal score the smaller item first."""
    item, order = torch.sort(item, dim=1)
    score, order = torch.sort(torch.gather(score, 1, order), dim=1, descending=True, stable=True)
    return score, torch.gather(item, 1, order)
