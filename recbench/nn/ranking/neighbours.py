"""Neighbours: items that the same lists hold or whose vectors are alike, and rankings by how near items are to those of a query."""

import itertools
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array, vstack
from torch import Tensor

from recbench.core import BadRequest, Catalogue, Histories, Queries, Rankings
from recbench.core.byte_sizes import size_text
from recbench.core.ragged import LongArray
from recbench.nn.ranking.similarity_settings import Similarity
from recbench.nn.ranking.topk import ScoreBlock, full_catalogue_topk, topk_from_scores

# B queries, b queries of one block, U lists, I items, i items of one block, D width

_BLOCK_PAIRS = 8_000_000
"""Pairs of items that are compared at a time, at most or for one item: about 600 MB."""
_BYTES_PER_KEPT_PAIR = 12
_BYTES_PER_PAIR = 3 * _BYTES_PER_KEPT_PAIR
"""The blocks, their union and its transpose stand side by side."""
_ENOUGH_TO_TELL = 0.02
"""Share of the possible pairs from which on the rest is judged by it."""
_TIE_BREAK = 1e-6
"""Weight of an item's number of lists: less than any difference between similarities that means something."""
_SIMILARITIES_FILE, _VECTORS_FILE = "similarities.safetensors", "model.safetensors"


def item_similarities(
    member_UI: csr_array, similarity: Similarity = "cosine", *, shrink: float = 0.0, neighbours: int | None = None
) -> csr_array:
    """How alike any two items are by the lists that hold both, (I, I) float64, row: item that is there, column: candidate.

    Args:
        member_UI: which list holds what, (U, I), 1 or nothing.
        similarity: what is computed of two columns.
        shrink: added to the denominator of the cosine.
        neighbours: a candidate keeps its so many most similar items, the smaller row first among equals; None: all.

    Returns:
        A matrix with an empty diagonal: an item is no neighbour of itself.

    Raises:
        BadRequest: the pairs would take more memory than is free. That is known after a small part of the work.
    """
    norm_I = np.sqrt(member_UI.sum(axis=0))
    list_IU = member_UI.T.tocsr()
    most_I = _most_pairs(member_UI)
    n_kept = 0
    blocks = []
    for start, end in itertools.pairwise(_block_ends(most_I)):
        common_iI = (list_IU[start:end] @ member_UI).tocsr()
        row = np.repeat(np.arange(start, end), np.diff(common_iI.indptr))
        if similarity == "cosine":
            common_iI.data /= norm_I[row] * norm_I[common_iI.indices] + shrink
        common_iI.data[common_iI.indices == row] = 0.0
        if neighbours is not None:
            _drop_far(common_iI, neighbours)
        common_iI.eliminate_zeros()
        blocks.append(common_iI)
        n_kept += common_iI.nnz
        _refuse_beyond_memory(n_kept, float(most_I[:end].sum() / max(most_I.sum(), 1)), len(most_I), neighbours)
    similarity_II: csr_array = vstack(blocks).T.tocsr()
    similarity_II.sort_indices()
    return similarity_II


def _most_pairs(member_UI: csr_array) -> NDArray[np.float64]:
    """How many items each item can share a list with, (I,): no more than its lists have entries."""
    most_I: NDArray[np.float64] = np.minimum(member_UI.T @ np.diff(member_UI.indptr), member_UI.shape[1])
    return most_I


def _refuse_beyond_memory(n_kept: int, share: float, n_items: int, neighbours: int | None) -> None:
    """A `BadRequest` where what was kept of a share of the pairs says that all will not fit."""
    if not _ENOUGH_TO_TELL <= share < 1:
        return
    more = _BYTES_PER_PAIR * n_kept / share - _BYTES_PER_KEPT_PAIR * n_kept
    free = psutil.virtual_memory().available
    if more > free:
        fewer = f"fewer neighbours than {neighbours}" if neighbours else "only the most similar items, such as neighbours=100"
        raise BadRequest(
            f"The similar pairs of {n_items:,} items, about {n_kept / share:,.0f}, take {size_text(round(more))} more of memory, and "
            f"{size_text(free)} are free. Keep {fewer} (--set)."
        )


def _block_ends(most_I: NDArray[np.float64]) -> list[int]:
    """Numbers of items, from 0 to all, between which lie no more pairs than a block may have. A long list makes many for each item."""
    n_items = len(most_I)
    upto_I = np.concatenate([[0.0], np.cumsum(most_I)])
    ends = [0]
    while ends[-1] < n_items:
        end = int(np.searchsorted(upto_I, upto_I[ends[-1]] + _BLOCK_PAIRS, side="right")) - 1
        ends.append(min(max(end, ends[-1] + 1), n_items))
    return ends


def _drop_far(block: csr_array, neighbours: int) -> None:
    """Set to zero all but the most similar items of each row, of equally similar ones those of larger numbers."""
    for row in np.flatnonzero(np.diff(block.indptr) > neighbours):
        part = slice(block.indptr[row], block.indptr[row + 1])
        value, column = block.data[part], block.indices[part]
        least = np.partition(value, -neighbours)[-neighbours]
        is_far = value < least
        equal = np.flatnonzero(value == least)
        n_far = len(equal) - (neighbours - np.count_nonzero(value > least))
        if n_far:
            is_far[equal[np.argsort(column[equal])[-n_far:]]] = True
        value[is_far] = 0.0


def mean_rows(histories: Histories, n_items: int) -> csr_array:
    """The matrix that takes the mean over each list: (B, I) float64 whose rows sum to 1, or to 0 for an empty list."""
    weight = np.repeat(1.0 / np.maximum(histories.lengths, 1), histories.lengths)
    return csr_array((weight, histories.item, histories.offsets), shape=(len(histories), n_items))


class ItemNeighbours:
    """Ranks items by their mean similarity to the items of the query, then by how many lists hold them; a recommender adds `fit`.

    Attributes:
        similarity_II: (I, I) float64, see `item_similarities`.
        count_I: (I,) int64, number of lists with the item.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.similarity_II: csr_array = csr_array((catalogue.n_items, catalogue.n_items), dtype=np.float64)
        self.count_I = np.zeros(catalogue.n_items, dtype=np.int64)

    def scores(self, histories: Histories) -> ScoreBlock:
        """The scores of all items for blocks of these lists, (b, I) float64."""
        mean_BI = mean_rows(histories, len(self.count_I))
        tie_I = _TIE_BREAK * self.count_I

        def score_block(rows: LongArray) -> Tensor:
            # In double precision, so that the order of the sum does not decide between equal means.
            return torch.from_numpy((mean_BI[rows] @ self.similarity_II).toarray() + tie_I)

        return score_block

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items most like those of the query; where nothing is alike, by popularity."""
        return topk_from_scores(self.scores(queries.histories), queries, k, len(self.count_I))

    def save(self, folder: Path) -> None:
        """Write similarities and counts."""
        matrix = self.similarity_II
        arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "count": self.count_I}
        save_file(arrays, folder / _SIMILARITIES_FILE)

    def load(self, folder: Path) -> None:
        """Read similarities and counts."""
        arrays = load_file(folder / _SIMILARITIES_FILE)
        self.similarity_II = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=self.similarity_II.shape)
        self.count_I = arrays["count"]


class VectorNeighbours:
    """Ranks items by the cosine between their vector and the mean vector of the query's items; a recommender adds `fit`.

    Attributes:
        vector_ID: (I, D) float32; an item whose vector is zero scores 0.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.vector_ID = np.zeros((catalogue.n_items, 1), np.float32)

    def scores(self, histories: Histories) -> ScoreBlock:
        """The cosines of all items for blocks of these lists, (b, I) float32."""
        mean_BD, unit_ID = self._directions(histories)
        return lambda rows: mean_BD[int(rows[0]) : int(rows[-1]) + 1] @ unit_ID.T

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items with the vector most like the mean of the query's; items without one score 0."""
        return full_catalogue_topk(*self._directions(queries.histories), queries, k)

    def _directions(self, histories: Histories) -> tuple[Tensor, Tensor]:
        mean_BD = mean_rows(histories, len(self.vector_ID)).astype(np.float32) @ self.vector_ID
        return torch.from_numpy(_unit_length(mean_BD)), torch.from_numpy(_unit_length(self.vector_ID))

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' vectors, (n_items, d) float32; zeros where an item has none."""
        return self.vector_ID

    def save(self, folder: Path) -> None:
        """Write the items' vectors."""
        save_file({"vectors": self.vector_ID}, folder / _VECTORS_FILE)

    def load(self, folder: Path) -> None:
        """Read the items' vectors."""
        self.vector_ID = load_file(folder / _VECTORS_FILE)["vectors"]


def _unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row at length 1; zeros stay zeros."""
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit
