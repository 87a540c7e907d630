"""Users' sequences as chains of item nodes with slots between them, the weights of neighbouring tokens, and merges of two of them."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recbench.core import Interactions
from recbench.core.ragged import IntArray, LongArray

# N nodes, F features of an item, U units, P pairs, L links

NOTHING = -1
"""No token, or no node."""
_PAIR_SHIFT = 32
"""A pair of tokens is one number: the larger token times two to this power, plus the smaller one."""
_NODES_AT_A_TIME = 50_000


def pair_number(one_P: NDArray[np.integer], other_P: NDArray[np.integer]) -> LongArray:
    """One number per pair of tokens, whatever their order."""
    pair_P: LongArray = (np.maximum(one_P, other_P).astype(np.int64) << _PAIR_SHIFT) + np.minimum(one_P, other_P)
    return pair_P


def pair_tokens(pair: int) -> tuple[int, int]:
    """The larger and the smaller token of a pair."""
    return pair >> _PAIR_SHIFT, pair & ((1 << _PAIR_SHIFT) - 1)


class Chains:
    """All sequences of a train part as chains: an item's node, a slot, the next item's node, and so on.

    A node holds a set of tokens; a slot holds one token at most, which then has features of items on both sides. A unit is a node with the
    slot behind it and the way to the next node. Weights are the chances that two tokens stand side by side when each node's tokens
    are shuffled (arXiv:2502.13581, section 3.2):

    * two tokens of a node of n: 2 / n;
    * tokens of neighbouring nodes of n and m tokens whose slot is empty: 1 / (n m);
    * the token of a slot and a token of a node of n beside it: 1 / n.

    Args:
        feature_IF: (I, F) features of all items, as tokens.
        n_values: how many tokens there are for features.
        train: the sequences.
        across_items: False: no node has neighbours.

    Attributes:
        scale: weights are counted in units of 1 / scale, which makes all of them whole numbers, so that sums are exact in any order.
        token: (N, F) int32, the tokens of each node in any places; `NOTHING` elsewhere.
        slot: (N,) int32, the token between a node and the next.
        next: (N,) int64, the node that follows.
        previous: (N,) int64, the node before.
    """

    def __init__(self, feature_IF: IntArray, n_values: int, train: Interactions, *, across_items: bool) -> None:
        n_nodes, n_features = len(train.item), feature_IF.shape[1]
        self.token: IntArray = feature_IF[train.item]
        self.slot = np.full(n_nodes, NOTHING, dtype=np.int32)
        self.next = np.full(n_nodes, NOTHING, dtype=np.int64)
        if across_items:
            user = train.row_of_entry()
            follows = np.flatnonzero(user[1:] == user[:-1])
            self.next[follows] = follows + 1
        self.previous = np.full(n_nodes, NOTHING, dtype=np.int64)
        self.previous[self.next[self.next >= 0]] = np.flatnonzero(self.next >= 0)
        # 1 / n as a whole number of 1 / root, for all n up to F; no division by zero where there is no token, nor any weight.
        root = math.lcm(*range(1, n_features + 1))
        self.scale = root**2
        self._root = root
        self._share = np.concatenate([[0], root // np.arange(1, n_features + 1)]).astype(np.int64)
        node, place = np.divmod(np.argsort(self.token, axis=None, kind="stable"), n_features)
        starts = np.searchsorted(self.token[node, place], np.arange(1, n_values))
        self._where = [[part] for part in np.split(node, starts)]
        """For each token the units in which it was put, and which it may have left again."""

    def all_weights(self) -> Iterator[tuple[LongArray, LongArray]]:
        """Pairs and weights of all chains, in parts of bounded size; see `weights`."""
        nodes = np.arange(len(self.token))
        for part in np.array_split(nodes, max(1, len(nodes) // _NODES_AT_A_TIME)):
            yield self.weights(part, part)

    def weights(self, node: LongArray, link: LongArray) -> tuple[LongArray, LongArray]:
        """Pairs of neighbouring tokens, (P,) numbers of `pair_number` that may repeat, and their weights, (P,) int64 in 1 / `scale`.

        Args:
            node: nodes whose own pairs are wanted.
            link: nodes whose pairs with the next node and the slot between are wanted.
        """
        left_P, right_P = np.triu_indices(self.token.shape[1], 1)
        parts = [self._pairs(self.token[node][:, left_P], self.token[node][:, right_P], 2 * self._root * self._shares(node)[:, None])]
        link = link[self.next[link] >= 0]
        is_open = self.slot[link] < 0
        empty, full = link[is_open], link[~is_open]
        behind = self.next[empty]
        both = self._shares(empty) * self._shares(behind)
        parts.append(self._pairs(self.token[empty][:, :, None], self.token[behind][:, None, :], both[:, None, None]))
        for beside in (full, self.next[full]):
            parts.append(self._pairs(self.slot[full][:, None], self.token[beside], self._root * self._shares(beside)[:, None]))
        return np.concatenate([pair for pair, _ in parts]), np.concatenate([weight for _, weight in parts])

    def merge(self, one: int, other: int, new: int) -> tuple[LongArray, LongArray]:
        """Put the token `new`, the next free number, wherever two tokens are neighbours, from left to right.

        A node that has become empty takes the token of the slot before it (the first of a chain: of the slot behind it); without one it
        leaves the chain. Tokens that come together so are always the new one and another, so no pair is ever merged twice.

        Returns:
            Pairs and by how much their weights have changed; pairs may repeat.
        """
        near = self._units_near(min(one, other, key=lambda token: sum(map(len, self._where[token]))))
        unit = near[self._inside(near, one, other) | self._beside(near, one, other)]
        touched = np.unique(np.concatenate([unit, self.next[unit][self.next[unit] >= 0]]))
        link = np.unique(np.concatenate([touched, self.previous[touched][self.previous[touched] >= 0]]))
        pair_before, weight_before = self.weights(touched, link)
        self._where.append([unit])
        while len(unit):
            # Units whose predecessor merges too wait for it.
            first = unit[~np.isin(self.previous[unit], unit)]
            self._merge_inside(first[self._inside(first, one, other)], one, other, new)
            self._merge_beside(first[self._beside(first, one, other)], one, other, new)
            unit = np.setdiff1d(unit, first, assume_unique=True)
            unit = unit[self._inside(unit, one, other) | self._beside(unit, one, other)]
        for node in touched[(self.token[touched] < 0).all(1)]:
            self._fill_or_drop(int(node))
        pair, weight = self.weights(touched, link)
        return np.concatenate([pair_before, pair]), np.concatenate([-weight_before, weight])

    def _units_near(self, token: int) -> LongArray:
        """The units in which a token may be, and those before them, ascending."""
        unit = np.unique(np.concatenate(self._where[token]))
        self._where[token] = [unit]
        before = self.previous[unit]
        return np.union1d(unit, before[before >= 0])

    def _shares(self, node: LongArray) -> LongArray:
        """One over the number of each node's tokens, in 1 / root."""
        share: LongArray = self._share[(self.token[node] >= 0).sum(1)]
        return share

    def _pairs(self, one: IntArray, other: IntArray, weight: LongArray) -> tuple[LongArray, LongArray]:
        """Numbers and weights of the pairs both of whose tokens are there."""
        one, other, weight = np.broadcast_arrays(one, other, weight)
        is_there = (one >= 0) & (other >= 0)
        return pair_number(one[is_there], other[is_there]), weight[is_there]

    def _holds(self, node: LongArray, token: int | IntArray) -> NDArray[np.bool_]:
        """Whether each node has a token, one for all or one for each; False where there is no node."""
        found: NDArray[np.bool_] = (self.token[node] == np.reshape(token, (-1, 1))).any(1) & (node >= 0)
        return found

    def _inside(self, unit: LongArray, one: int, other: int) -> NDArray[np.bool_]:
        """Whether a node has both tokens."""
        if one == other:
            return np.zeros(len(unit), dtype=bool)
        return self._holds(unit, one) & self._holds(unit, other)

    def _beside(self, unit: LongArray, one: int, other: int) -> NDArray[np.bool_]:
        """Whether the tokens are neighbours between a node, the slot behind it and the next node."""
        slot, behind = self.slot[unit], self.next[unit]
        one_left, other_left = self._holds(unit, one), self._holds(unit, other)
        one_right, other_right = self._holds(behind, one), self._holds(behind, other)
        across = (slot < 0) & ((one_left & other_right) | (other_left & one_right))
        found: NDArray[np.bool_] = across | ((slot == one) & (other_left | other_right)) | ((slot == other) & (one_left | one_right))
        return found

    def _merge_inside(self, unit: LongArray, one: int, other: int, new: int) -> None:
        self._remove(unit, one)
        place = (self.token[unit] == other).argmax(1)
        self.token[unit, place] = new

    def _merge_beside(self, unit: LongArray, one: int, other: int, new: int) -> None:
        is_empty = self.slot[unit] < 0
        empty, full = unit[is_empty], unit[~is_empty]
        has_one_left = self._holds(empty, one) & self._holds(self.next[empty], other)
        self._remove(empty, np.where(has_one_left, one, other))
        self._remove(self.next[empty], np.where(has_one_left, other, one))
        slot, behind = self.slot[full], self.next[full]
        takes_other = (slot == one) & (self._holds(full, other) | self._holds(behind, other))
        taken = np.where(takes_other, other, one)
        self._remove(np.where(self._holds(full, taken), full, behind), taken)
        self.slot[unit] = new

    def _remove(self, node: LongArray, token: int | IntArray) -> None:
        place = (self.token[node] == np.reshape(token, (-1, 1))).argmax(1)
        self.token[node, place] = NOTHING

    def _fill_or_drop(self, node: int) -> None:
        """Give an empty node the token of a slot beside it, or take it out of its chain."""
        before, behind = int(self.previous[node]), int(self.next[node])
        giver = before if before >= 0 else node
        token = int(self.slot[giver])
        if token >= 0:
            self.token[node, 0], self.slot[giver] = token, NOTHING
            self._where[token].append(np.array([node]))
            return
        if before >= 0:
            self.next[before] = behind
            self.slot[before] = self.slot[node]
            if self.slot[node] >= 0:
                self._where[self.slot[node]].append(np.array([before]))
        if behind >= 0:
            self.previous[behind] = before
        self.next[node] = self.previous[node] = self.slot[node] = NOTHING
