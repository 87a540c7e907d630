"""Lexical IDs: an item is called by words, one for each cluster on its way through a tree of clusters (GRAM, arXiv:2506.01673).

The word of a cluster is the best token of its items' texts by TF-IDF that no larger cluster around it has got already.
"""

# I items, L levels, V tokens of the vocabulary, N nodes of a level, C candidates of all nodes together

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from recbench.core.errors import BadData, StageFailed
from recbench.core.ragged import IntArray, LongArray, Ragged
from recbench_models.gram.vocabulary import Vocabulary

IDS_FILE = "lexical_ids.safetensors"
_NOTES = "recbench"
_NONE = -1


@dataclass(frozen=True, eq=False)
class LexicalIds:
    """The IDs of a catalogue, all different and none empty.

    Attributes:
        tokens: a list of vocabulary tokens per item, without an end token.
        n_levels: most tokens of an ID, apart from a number.
        is_numbered: (n_items,), whether the last token is a number that tells items of equal IDs apart.
        n_skipped: levels, summed over the items, that have no token because the candidates ran out.
    """

    tokens: Ragged
    n_levels: int
    is_numbered: NDArray[np.bool_]
    n_skipped: int

    def __len__(self) -> int:
        return len(self.tokens)

    def save(self, folder: Path) -> Path:
        """Write `lexical_ids.safetensors`. Gives back its path."""
        path = folder / IDS_FILE
        tensors = {"item": self.tokens.item, "offsets": self.tokens.offsets, "is_numbered": self.is_numbered}
        # One entry: the library writes several in any order, and equal IDs must be equal files.
        notes = {_NOTES: json.dumps({"n_levels": self.n_levels, "n_skipped": self.n_skipped})}
        save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, path, metadata=notes)
        return path

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the file that `save` wrote; a file that is something else is a `BadData` that names it."""
        path = folder / IDS_FILE
        try:
            with safe_open(path, framework="numpy") as file:
                notes = json.loads(file.metadata()[_NOTES])
                tokens = Ragged(file.get_tensor("item"), file.get_tensor("offsets"))
                return cls(tokens, notes["n_levels"], file.get_tensor("is_numbered"), notes["n_skipped"])
        except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"{path} holds no lexical IDs: {error}. Delete that folder and give the command again.") from None


def tfidf(tokens: Ragged, *, size: int, max_tokens: int) -> csr_array:
    """How much each token says about each item, (I, V) float64, sorted by token within an item.

    A token's count among the first `max_tokens` of the item's text, times ln(1 + (I - df + 0.5) / (df + 0.5)), where df is the number
    of items with the token anywhere in their text.

    Args:
        tokens: of each item's text.
        size: V, of the vocabulary.
        max_tokens: only the count stops there; the document frequency looks at the whole text.
    """
    n_items = len(tokens)
    item_of, token_of = tokens.row_of_entry(), tokens.item.astype(np.int64)
    place = np.arange(len(token_of)) - tokens.offsets[item_of]
    df_V = np.bincount(np.unique(item_of * size + token_of) % size, minlength=size)
    idf_V = np.log(1 + (n_items - df_V + 0.5) / (df_V + 0.5))
    pair, count = np.unique((item_of * size + token_of)[place < max_tokens], return_counts=True)
    row, token = np.divmod(pair, size)
    starts = np.searchsorted(row, np.arange(n_items + 1))
    return csr_array((count * idf_V[token], token, starts), shape=(n_items, size))


def lexical_ids(
    path_IL: IntArray, weight: csr_array, vocabulary: Vocabulary, *, n_candidates: int = 50, unique_siblings: bool = False
) -> LexicalIds:
    """The words on every item's path, then a number where items share them.

    A node is named by the first of its candidates that no node above it has: its `n_candidates` tokens of the largest mean weight over
    its items, the smaller token first where two are equal, without those that may not name. A node whose candidates are used up has no
    name, and IDs leave it out.

    Args:
        path_IL: (I, L) int32, child numbers from the root on; -1 where a path has ended.
        weight: (I, V), from `tfidf`.
        vocabulary: of V tokens.
        n_candidates: of a node, before those go that may not name.
        unique_siblings: whether children of one node get different names, the larger child first. Published IDs do without.

    Raises:
        StageFailed: two IDs are equal in spite of their numbers.
    """
    n_items, n_levels = path_IL.shape
    token_IL = np.full((n_items, n_levels), _NONE, dtype=np.int64)
    node_I = np.zeros(n_items, dtype=np.int64)
    for level in range(n_levels):
        child_I = path_IL[:, level].astype(np.int64)
        # The parent's number and the child's make one key, so that nodes of a level stand in the order of their paths.
        key_I = node_I * (int(child_I.max(initial=0)) + 2) + child_I + 1
        _, first_N, next_I = np.unique(key_I, return_index=True, return_inverse=True)
        parent_N = node_I[first_N]
        node_I = next_I.reshape(-1)
        node_C, token_C = _candidates(_node_weight(weight, node_I, len(first_N)), vocabulary, n_candidates)
        # Items of a node agree on everything above it, so any of them tells which tokens are used.
        is_free_C = (token_IL[first_N[node_C], :level] != token_C[:, None]).all(axis=1)
        node_C, token_C = node_C[is_free_C], token_C[is_free_C]
        if unique_siblings:
            token_N = _different_names(node_C, token_C, parent_N, np.bincount(node_I, minlength=len(first_N)))
        else:
            token_N = np.full(len(first_N), _NONE, dtype=np.int64)
            named, first_C = np.unique(node_C, return_index=True)
            token_N[named] = token_C[first_C]
        token_IL[:, level] = np.where(child_I < 0, _NONE, token_N[node_I])
    n_skipped = int(np.count_nonzero((token_IL == _NONE) & (path_IL >= 0)))
    return _numbered(token_IL, vocabulary, n_skipped)


def keyword_ids(weight: csr_array, vocabulary: Vocabulary, *, n_levels: int, n_candidates: int = 50) -> LexicalIds:
    """IDs without a tree: every item is named by its own best tokens, best first, then numbered where items share them.

    Args:
        weight: (I, V), from `tfidf`.
        vocabulary: of V tokens.
        n_levels: tokens of an ID; fewer where an item has fewer candidates.
        n_candidates: of an item, before those go that may not name.

    Raises:
        StageFailed: two IDs are equal in spite of their numbers.
    """
    token_IL = np.full((weight.shape[0], n_levels), _NONE, dtype=np.int64)
    item_C, token_C = _candidates(weight, vocabulary, n_candidates)
    rank_C = _rank_within(item_C)
    chosen_C = rank_C < n_levels
    token_IL[item_C[chosen_C], rank_C[chosen_C]] = token_C[chosen_C]
    return _numbered(token_IL, vocabulary, int(np.count_nonzero(token_IL == _NONE)))


def _node_weight(weight: csr_array, node_I: LongArray, n_nodes: int) -> csr_array:
    """The mean weight of each node's items, (N, V)."""
    size_N = np.bincount(node_I, minlength=n_nodes)
    members = csr_array((np.ones(len(node_I)), np.argsort(node_I, kind="stable"), np.append(0, np.cumsum(size_N))), (n_nodes, len(node_I)))
    total: csr_array = members @ weight
    total.data /= np.repeat(size_N, np.diff(total.indptr))
    return total


def _candidates(weight_NV: csr_array, vocabulary: Vocabulary, n_candidates: int) -> tuple[LongArray, LongArray]:
    """Rows and tokens that may name them, (C,) each: row after row, the best token first."""
    row = np.repeat(np.arange(weight_NV.shape[0], dtype=np.int64), np.diff(weight_NV.indptr))
    token, value = weight_NV.indices.astype(np.int64), weight_NV.data
    is_some = value > 0
    row, token, value = row[is_some], token[is_some], value[is_some]
    order = np.lexsort((token, -value, row))
    row, token = row[order], token[order]
    kept = (_rank_within(row) < n_candidates) & vocabulary.may_name[token]
    return row[kept], token[kept]


def _rank_within(row: LongArray) -> LongArray:
    """The place of each entry among those of its row; rows ascend."""
    rank: LongArray = np.arange(len(row)) - np.searchsorted(row, row)
    return rank


def _different_names(node_C: LongArray, token_C: LongArray, parent_N: LongArray, size_N: LongArray) -> LongArray:
    """A token for each node that no sibling has, larger nodes first, (N,); -1 where its candidates are used up."""
    starts = np.searchsorted(node_C, np.arange(len(parent_N) + 1)).tolist()
    tokens, parents = token_C.tolist(), parent_N.tolist()
    token_N = np.full(len(parent_N), _NONE, dtype=np.int64)
    used: set[tuple[int, int]] = set()
    for node in np.argsort(-size_N, kind="stable").tolist():
        for token in tokens[starts[node] : starts[node + 1]]:
            if (parents[node], token) not in used:
                used.add((parents[node], token))
                token_N[node] = token
                break
    return token_N


def _numbered(token_IL: LongArray, vocabulary: Vocabulary, n_skipped: int) -> LexicalIds:
    """IDs of the rows' tokens, each of equal ones with a number, in item order. An ID without words is its number.

    The vocabulary gets as many numbers as the largest group of equal IDs has items.
    """
    n_items, n_levels = token_IL.shape
    has_IL = token_IL != _NONE
    length_I = has_IL.sum(axis=1)
    id_IL = np.full((n_items, n_levels + 1), _NONE, dtype=np.int64)
    row, _ = np.nonzero(has_IL)
    id_IL[row, _rank_within(row)] = token_IL[has_IL]
    _, group_I = np.unique(id_IL, axis=0, return_inverse=True)
    group_I = group_I.reshape(-1)
    size_I = np.bincount(group_I)[group_I] if n_items else group_I
    order = np.argsort(group_I, kind="stable")
    number_I = np.empty(n_items, dtype=np.int64)
    number_I[order] = _rank_within(group_I[order])
    is_numbered = (size_I >= 2) | (length_I == 0)
    n_numbers = int(number_I[is_numbered].max(initial=_NONE)) + 1
    vocabulary.ensure_numbers(n_numbers)
    token_of_number = np.array([vocabulary.number(n) for n in range(n_numbers)], dtype=np.int64)
    id_IL[is_numbered, length_I[is_numbered]] = token_of_number[number_I[is_numbered]]
    if len(np.unique(id_IL, axis=0)) < n_items:
        raise StageFailed("Two items have equal IDs: the word of one is the number of another. Raise n_levels or n_clusters.")
    length_I = length_I + is_numbered
    offsets = np.concatenate([[0], np.cumsum(length_I)]).astype(np.int64)
    return LexicalIds(Ragged(id_IL[id_IL != _NONE].astype(np.int32), offsets), n_levels, is_numbered, n_skipped)
