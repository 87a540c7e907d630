"""The vocabulary: tokens that stand for features which occur together, and how items and histories are cut into them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recbench.core import BadData
from recbench.core.ragged import IntArray, LongArray
from recbench.nn.codes import ItemCodes

# I items, F features of an item, M merges, R rows, N tokens of a row, P pairs

VOCABULARY_FILE = "vocabulary.safetensors"
GONE = -1
"""Stands where a token has become part of another, and behind the end of shorter rows."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens from 0 on: one for each value of each feature, then one for each merge of two earlier tokens, in the order of the merges.

    Attributes:
        sizes: (F,) int32, how many values each feature has; each has a range of tokens of its own.
        feature_IF: (I, F) int32, the features of all items, as tokens.
        parts_M2: (M, 2) int32, the two tokens that each merge joins, the larger one first.
        priority_M: (M,) float64, the total weight that the pair had when it was merged.
    """

    sizes: IntArray
    feature_IF: IntArray
    parts_M2: IntArray
    priority_M: NDArray[np.float64]

    @property
    def n_values(self) -> int:
        """Values of all features together."""
        return int(self.sizes.sum())

    @property
    def n_tokens(self) -> int:
        """Values of all features and merges."""
        return self.n_values + len(self.parts_M2)

    @property
    def n_features(self) -> int:
        """F, the features of an item."""
        return len(self.sizes)

    def features_of(self, token: int) -> list[int]:
        """The features that a token stands for, as tokens; one may occur twice where the token spans items."""
        if token < self.n_values:
            return [token]
        return [feature for part in self.parts_M2[token - self.n_values].tolist() for feature in self.features_of(part)]

    @cached_property
    def _rules(self) -> tuple[LongArray, LongArray]:
        """The pairs that are merged, ascending, and the token of each."""
        larger, smaller = self.parts_M2.astype(np.int64).T
        pair = larger * self.n_tokens + smaller
        order = np.argsort(pair)
        return pair[order], self.n_values + order

    def merged(self, one_P: NDArray[np.integer], other_P: NDArray[np.integer]) -> LongArray:
        """The token that two tokens merge to, whatever their order; `n_tokens` where they do not, or one of them is `GONE`."""
        pair_R, token_R = self._rules
        if not len(pair_R):
            return np.full(one_P.shape, self.n_tokens)
        # GONE beside any token gives a number that no pair of tokens has, for its smaller part would be -1.
        smaller = np.minimum(one_P, other_P)
        pair_P = np.maximum(one_P, other_P).astype(np.int64) * self.n_tokens + smaller
        place_P = np.minimum(np.searchsorted(pair_R, pair_P), len(pair_R) - 1)
        return np.where((pair_R[place_P] == pair_P) & (smaller >= 0), token_R[place_P], self.n_tokens)

    def codes(self) -> ItemCodes:
        """The code of each item: its features alone, cut into tokens by the merges of the largest priority first; a new token stands first.

        The tokens of a code hold each feature of the item exactly once, so that codes differ and none is the beginning of another.
        """
        code_IF = self.feature_IF.copy()
        # Place of each token when merges are sorted by falling priority; of equal ones the earlier first.
        rank = np.full(self.n_tokens + 1, self.n_tokens, dtype=np.int64)
        rank[self.n_values + np.lexsort((np.arange(len(self.priority_M)), -self.priority_M))] = np.arange(len(self.priority_M))
        left_P, right_P = np.triu_indices(self.n_features, 1)
        rows = np.arange(len(code_IF))
        while len(rows):
            row_RF = code_IF[rows]
            token_RP = self.merged(row_RF[:, left_P], row_RF[:, right_P])
            best_R = rank[token_RP].argmin(1)
            token_R = token_RP[np.arange(len(rows)), best_R]
            merges_R = token_R < self.n_tokens
            rows, row_RF, best_R, token_R = rows[merges_R], row_RF[merges_R], best_R[merges_R], token_R[merges_R]
            here = np.arange(len(rows))
            row_RF[here, left_P[best_R]] = row_RF[here, right_P[best_R]] = GONE
            code_IF[rows] = GONE
            rest = _packed(row_RF)
            code_IF[rows, 0] = token_R
            code_IF[rows, 1 : rest.shape[1] + 1] = rest
        n_levels = int((code_IF != GONE).sum(1).max(initial=1))
        return ItemCodes(code_IF[:, :n_levels].astype(np.int32), (self.n_tokens,) * n_levels, shared_tokens=True)

    def segmented(self, token_RN: NDArray[np.integer]) -> LongArray:
        """Rows of tokens after all merges of neighbours, (R, at most N) int64: the earliest merge first, of equal ones the leftmost.

        Args:
            token_RN: (R, N), `GONE` behind the end of shorter rows; it may stand before tokens as well, which then are no neighbours.
        """
        n_rows, n_places = token_RN.shape
        # A place more on both sides, so that every token has neighbours.
        token = np.full((n_rows, n_places + 2), GONE, dtype=np.int64)
        token[:, 1:-1] = token_RN
        merge = np.full(token.shape, self.n_tokens, dtype=np.int64)
        merge[:, 1:-2] = self.merged(token[:, 1:-2], token[:, 2:-1])
        left = np.broadcast_to(np.arange(-1, n_places + 1), token.shape).copy()
        right = np.broadcast_to(np.arange(1, n_places + 3), token.shape).copy()
        rows = np.arange(n_rows)
        while True:
            at = merge[rows].argmin(1)
            new = merge[rows, at]
            merges = new < self.n_tokens
            if not merges.any():
                return _packed(token)
            rows, at, new = rows[merges], at[merges], new[merges]
            taken = right[rows, at]
            behind, before = right[rows, taken], left[rows, at]
            token[rows, at], token[rows, taken] = new, GONE
            right[rows, at], left[rows, behind] = behind, at
            merge[rows, taken] = self.n_tokens
            merge[rows, at] = self.merged(new, token[rows, behind])
            merge[rows, before] = self.merged(token[rows, before], new)

    def save(self, folder: Path) -> None:
        """Write the vocabulary with the features of the items."""
        save_file(
            {"sizes": self.sizes, "features": self.feature_IF, "parts": self.parts_M2, "priority": self.priority_M},
            folder / VOCABULARY_FILE,
        )

    @classmethod
    def load(cls, folder: Path) -> "Vocabulary":
        """Read what `save` wrote; `BadData` where it is something else."""
        file = folder / VOCABULARY_FILE
        try:
            held = load_file(file)
            return cls(held["sizes"], held["features"], held["parts"], held["priority"])
        except (SafetensorError, OSError, KeyError) as error:
            raise BadData(f"{file} holds no vocabulary that can be read: {error}. Restore it, or make the run again.") from None


def _packed(token_RN: NDArray[np.integer]) -> LongArray:
    """The tokens of each row side by side, (R, most tokens of a row), in the order they had."""
    is_gone_RN = token_RN == GONE
    order_RN = np.argsort(is_gone_RN, axis=1, kind="stable")[:, : int((~is_gone_RN).sum(1).max(initial=0))]
    return np.take_along_axis(token_RN, order_RN, 1).astype(np.int64)
