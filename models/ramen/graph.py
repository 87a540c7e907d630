"""The graph of items: who is used together with whom."""

import numpy as np
from scipy.sparse import csr_array

from recbench.core import Ragged
from recbench.core.ragged import LongArray

# N items, n items of one block, U lists, u lists of one block, B sets, E pairs of an item and a neighbour

_ITEMS_AT_A_TIME = 2048
_LISTS_AT_A_TIME = 4096


def neighbours(sets: Ragged, n_items: int, *, min_count: int, max_neighbours: int) -> Ragged:
    """The neighbours of every item: those that stand with it in at least `min_count` sets, N lists of ascending item rows.

    Args:
        sets: lists of distinct item rows, such as what each user used.
        n_items: N.
        min_count: 1 or more.
        max_neighbours: how many an item has at most, those with the largest counts, of equal counts those with the smaller rows. So one
            item may be the neighbour of another without having it as its own.
    """
    has_UN = csr_array((np.ones(len(sets.item), np.int32), sets.item, sets.offsets), shape=(len(sets), n_items))
    has_NU = has_UN.T.tocsr()
    neighbour, n_neighbours = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    for start in range(0, n_items, _ITEMS_AT_A_TIME):
        count_nN = (has_NU[start : start + _ITEMS_AT_A_TIME] @ has_UN).tocoo()
        row, column, count = count_nN.row, count_nN.col, count_nN.data
        is_edge = (count >= min_count) & (column != row + start)
        row, column, count = row[is_edge], column[is_edge], count[is_edge]
        order = np.lexsort((column, -count, row))
        kept = order[_place_in_row(row[order]) < max_neighbours]
        kept = kept[np.lexsort((column[kept], row[kept]))]
        neighbour.append(column[kept].astype(np.int32))
        n_neighbours.append(np.bincount(row[kept], minlength=count_nN.shape[0]))
    offsets = np.zeros(n_items + 1, np.int64)
    np.cumsum(np.concatenate(n_neighbours), out=offsets[1:])
    return Ragged(np.concatenate(neighbour), offsets)


def holds_only_sets(unions: Ragged, sets: Ragged, n_items: int) -> bool:
    """Whether every list of `unions` is made of whole `sets`: each of its items stands in one of them that lies in it entirely.

    Args:
        unions: lists of distinct item rows, such as what each user used.
        sets: lists of distinct item rows, such as bundles.
        n_items: size of the catalogue.
    """
    has_BN = csr_array((np.ones(len(sets.item), np.int32), sets.item, sets.offsets), shape=(len(sets), n_items))
    for start in range(0, len(unions), _LISTS_AT_A_TIME):
        part = unions.take(np.arange(start, min(start + _LISTS_AT_A_TIME, len(unions))))
        has_uN = csr_array((np.ones(len(part.item), np.int32), part.item, part.offsets), shape=(len(part), n_items))
        n_common_uB = (has_uN @ has_BN.T).tocoo()
        is_whole = n_common_uB.data == sets.lengths[n_common_uB.col]
        whole_uB = csr_array((is_whole[is_whole], (n_common_uB.row[is_whole], n_common_uB.col[is_whole])), shape=n_common_uB.shape)
        # Whole sets lie in the list, so what they hold together are items of it.
        if (whole_uB @ has_BN).nnz < len(part.item):
            return False
    return True


def _place_in_row(row_E: LongArray) -> LongArray:
    """How many entries of the same row stand before each entry, for ascending rows."""
    return np.arange(len(row_E)) - np.searchsorted(row_E, row_E)
