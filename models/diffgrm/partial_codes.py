"""All partial codes that some item agrees with: which items those are, and by which digits each goes on."""

from dataclasses import dataclass, fields
from math import comb

import numpy as np
import torch
from torch import Tensor

from recbench.core import Histories
from recbench.core.ragged import LongArray

# N items, M digits of a code, K values of a digit, G nodes, C codes, E edges, P excluded pairs of user and item, Q any number


@dataclass(frozen=True, eq=False)
class PartialCodes:
    """A node is a set of digits with their values that the code of at least one item has; an edge shows one more digit.

    Nodes of the same digits are numbered in the order of their smallest item rows; node 0 shows nothing. Codes of items, whole ones, are
    the last nodes, from `first_code` on. All arrays are tensors on one device.

    Attributes:
        node_of_item: (N, 2 ** M) int64; column s holds the nodes of the digits that are the bits of s.
        value: (G, M) int64 digits of a node; where a digit is not shown, that of the node's smallest item.
        is_masked: (G, M) bool, which digits are not shown.
        n_items: (G,) int64, items that agree with a node.
        code: (G,) int64, the number of the only code that agrees with a node, from 0 on; where there are several, a number of the node's
            own from C on.
        edge_start: (G + 1,) int64; the edges of node g are `edge_start[g]` to `edge_start[g + 1] - 1`.
        edge_node: (E,) int64, the node that an edge leads to.
        edge_digit: (E,) int64, the digit that it shows.
        edge_value: (E,) int64, that digit's value.
        item: (N,) int64, the items, those of one code one after the other by their rows.
        item_start: (C + 1,) int64, where those of each code begin.
    """

    node_of_item: Tensor
    value: Tensor
    is_masked: Tensor
    n_items: Tensor
    code: Tensor
    edge_start: Tensor
    edge_node: Tensor
    edge_digit: Tensor
    edge_value: Tensor
    item: Tensor
    item_start: Tensor

    @classmethod
    def of(cls, code_NM: LongArray, size: int) -> "PartialCodes":
        """The partial codes of a catalogue.

        Args:
            code_NM: (N, M) digits from 0 to K - 1, of at least one item.
            size: K.
        """
        n_items, n_digits = code_NM.shape
        subsets = np.array(sorted(range(2**n_digits), key=lambda subset: (subset.bit_count(), subset)))
        node_of_item = np.zeros((n_items, len(subsets)), dtype=np.int64)
        smallest, subset_of, n_nodes = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], 1
        for subset in subsets[1:]:
            digit = int(subset).bit_length() - 1
            key = node_of_item[:, subset ^ (1 << digit)] * size + code_NM[:, digit]
            _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
            order = np.argsort(first)
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            node_of_item[:, subset] = n_nodes + place[inverse.reshape(-1)]
            smallest.append(first[order])
            subset_of.append(np.full(len(order), subset))
            n_nodes += len(order)
        item_G, subset_G = np.concatenate(smallest), np.concatenate(subset_of)
        first_code = n_nodes - len(smallest[-1])
        is_shown = (subset_G[:, None] >> np.arange(n_digits)) & 1 == 1
        child_E, digit_E = np.nonzero(is_shown)
        parent_E = node_of_item[item_G[child_E], subset_G[child_E] ^ (1 << digit_E)]
        by_parent = np.argsort(parent_E, kind="stable")
        child_E, digit_E = child_E[by_parent], digit_E[by_parent]
        whole_N = node_of_item[:, -1] - first_code
        n_codes_G = np.bincount(node_of_item[item_G[first_code:]].reshape(-1), minlength=n_nodes)
        own_G = whole_N.max() + 1 + np.arange(n_nodes)
        arrays = {
            "node_of_item": node_of_item,
            "value": code_NM[item_G],
            "is_masked": ~is_shown,
            "n_items": np.bincount(node_of_item.reshape(-1), minlength=n_nodes),
            "code": np.where(n_codes_G == 1, whole_N[item_G], own_G),
            "edge_start": np.concatenate([[0], np.bincount(parent_E, minlength=n_nodes).cumsum()]),
            "edge_node": child_E,
            "edge_digit": digit_E,
            "edge_value": code_NM[item_G[child_E], digit_E],
            "item": np.argsort(whole_N, kind="stable"),
            "item_start": np.concatenate([[0], np.bincount(whole_N).cumsum()]),
        }
        return cls(**{name: torch.from_numpy(array) for name, array in arrays.items()})

    def to(self, device: torch.device) -> "PartialCodes":
        """The same on a device."""
        if self.item.device == device:
            return self
        return PartialCodes(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @property
    def n_digits(self) -> int:
        """M."""
        return self.value.shape[1]

    @property
    def n_nodes(self) -> int:
        """G."""
        return len(self.value)

    @property
    def first_code(self) -> int:
        """The node of the first whole code."""
        return self.n_nodes - len(self.item_start) + 1

    def most_copies(self, n_shown: int) -> int:
        """How often one code can stand among the edges to nodes of `n_shown` digits, where only it agrees with them."""
        return comb(self.n_digits, n_shown) * n_shown

    def edges_of(self, node_Q: Tensor) -> tuple[Tensor, Tensor]:
        """The edges of nodes, one node's after the other: which of the nodes each is of, and its number."""
        begin_Q = self.edge_start[node_Q]
        count_Q = self.edge_start[node_Q + 1] - begin_Q
        return _spread(begin_Q, count_Q)

    def items_of(self, code_Q: Tensor) -> tuple[Tensor, Tensor]:
        """The items of codes, numbered from 0, one code's after the other: which of the codes each is of, and its row."""
        begin_Q = self.item_start[code_Q]
        row, place = _spread(begin_Q, self.item_start[code_Q + 1] - begin_Q)
        return row, self.item[place]


class Excluded:
    """What the histories of a batch take from the partial codes.

    Args:
        codes: of the catalogue.
        histories: whose items are excluded, one row for each user.
    """

    def __init__(self, codes: PartialCodes, histories: Histories) -> None:
        n_items = len(codes.item)
        pair_P = torch.from_numpy(np.unique(histories.row_of_entry() * n_items + histories.item)).to(codes.item.device)
        user_P, item_P = pair_P // n_items, pair_P % n_items
        key_Q, count_Q = torch.unique(user_P[:, None] * codes.n_nodes + codes.node_of_item[item_P], return_counts=True)
        self._pairs, self._n_items, self._n_nodes = pair_P, n_items, codes.n_nodes
        self._closed = key_Q[count_Q == codes.n_items[key_Q % codes.n_nodes]]

    def closes(self, user_Q: Tensor, node_Q: Tensor) -> Tensor:
        """Whether all items that agree with a node are excluded for a user, (Q,) bool."""
        return _holds(self._closed, user_Q * self._n_nodes + node_Q)

    def holds(self, user_Q: Tensor, item_Q: Tensor) -> Tensor:
        """Whether an item is excluded for a user, (Q,) bool."""
        return _holds(self._pairs, user_Q * self._n_items + item_Q)


def _spread(begin_Q: Tensor, count_Q: Tensor) -> tuple[Tensor, Tensor]:
    """For each number of the ranges `begin` to `begin + count - 1`, one range after the other: which range it is of, and the number."""
    row = torch.repeat_interleave(torch.arange(len(begin_Q), device=begin_Q.device), count_Q)
    return row, torch.arange(len(row), device=begin_Q.device) + (begin_Q - count_Q.cumsum(0) + count_Q)[row]


def _holds(sorted_P: Tensor, key_Q: Tensor) -> Tensor:
    """Whether each key is among the sorted ones, (Q,) bool."""
    if not len(sorted_P):
        return torch.zeros_like(key_Q, dtype=torch.bool)
    return sorted_P[torch.searchsorted(sorted_P, key_Q).clamp(max=len(sorted_P) - 1)] == key_Q
