"""The codes of all items as one tree in flat arrays, on any device.

A node is a prefix that at least one code begins with. Nodes are numbered level by level, within a level in the order of their tokens, so
node numbers depend on the codes alone. A code may be a prefix of another; its item then stands on an inner node. Where several items
may have one code, they stand on one node.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.core import Ragged
from recbench.core.ragged import LongArray

# I items, Z nodes (the root is node 0), Z - 1 edges, L length of the longest code


@dataclass(frozen=True, eq=False)
class CodeTrie:
    """A tree of codes. All tensors are int64 and stand on one device.

    Attributes:
        child_ptr: (Z + 1,), the edges to the children of node z are `child_ptr[z]:child_ptr[z + 1]`, by ascending token.
        child_token: (Z - 1,), the token on an edge.
        child_node: (Z - 1,), the node that an edge leads to.
        n_ending: (Z,), how many items' codes end at a node.
        n_leaves: (Z,), how many items' codes end at a node or below it.
        n_codes: (Z,), how many different codes end at a node or below it.
        item_order: (I,), the items in the order of their codes, those of one code by their rows.
        begin: (Z,), where the items at a node and below it begin in `item_order`, those at the node first.
        first_item: (Z,), the smallest item row whose code ends at a node or below it.
        height: (Z,), how many tokens the longest code below a node goes on from there.
        path: (I, L), the nodes of an item's code at depths 1 to L; -1 behind its end.
        parent: (Z,), the node above; -1 for the root.
        n_tokens: one more than the largest token.
    """

    child_ptr: Tensor
    child_token: Tensor
    child_node: Tensor
    n_ending: Tensor
    n_leaves: Tensor
    n_codes: Tensor
    item_order: Tensor
    begin: Tensor
    first_item: Tensor
    height: Tensor
    path: Tensor
    parent: Tensor
    n_tokens: int

    @classmethod
    def from_tokens(cls, tokens: NDArray[np.integer] | Ragged, *, may_collide: bool = False) -> Self:
        """The tree of the codes of items 0 to I - 1.

        Args:
            tokens: (I, L), or one list of tokens for each item; tokens are not negative.
            may_collide: several items may have the same code; otherwise that is a `ValueError`.
        """
        order_I, token_IL, differs_IL = _sorted(_padded(tokens))
        n_items, longest = token_IL.shape
        is_new_I = differs_IL[:, -1]
        if not may_collide:
            _refuse_equal(order_I, token_IL, is_new_I)

        path_IL = np.full(token_IL.shape, -1, dtype=np.int64)
        parents, edge_tokens = [], []
        length_I = (token_IL >= 0).sum(1)
        # Of the root; then level by level.
        ending, leaves, codes = [np.array([0])], [np.array([n_items])], [is_new_I.sum(keepdims=True)]
        firsts, begins = [order_I.min(keepdims=True)], [np.array([0])]
        above_I = np.zeros(n_items, dtype=np.int64)
        n_nodes = 1
        for level in range(longest):
            row = np.flatnonzero(token_IL[:, level] >= 0)
            start = np.flatnonzero(differs_IL[row, level])
            node = n_nodes - 1 + np.cumsum(differs_IL[row, level])
            parents.append(above_I[row[start]])
            edge_tokens.append(token_IL[row[start], level])
            ending.append(np.add.reduceat((length_I[row] == level + 1).astype(np.int64), start))
            leaves.append(np.diff(start, append=len(row)))
            codes.append(np.add.reduceat(is_new_I[row].astype(np.int64), start))
            firsts.append(np.minimum.reduceat(order_I[row], start))
            # Sorted so, codes that end here stand in front of those that go on from here.
            begins.append(row[start])
            path_IL[row, level] = node
            above_I[row] = node
            n_nodes += len(start)
        parent = np.concatenate([np.array([-1]), *parents])
        child_ptr = np.zeros(n_nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(parent[1:], minlength=n_nodes), out=child_ptr[1:])
        path = np.empty_like(path_IL)
        path[order_I] = path_IL
        return cls(
            child_ptr=torch.from_numpy(child_ptr),
            child_token=torch.from_numpy(np.concatenate(edge_tokens)),
            child_node=torch.arange(1, n_nodes),
            n_ending=torch.from_numpy(np.concatenate(ending)),
            n_leaves=torch.from_numpy(np.concatenate(leaves)),
            n_codes=torch.from_numpy(np.concatenate(codes)),
            item_order=torch.from_numpy(order_I),
            begin=torch.from_numpy(np.concatenate(begins)),
            first_item=torch.from_numpy(np.concatenate(firsts)),
            height=torch.from_numpy(_heights(path_IL, n_nodes)),
            path=torch.from_numpy(path),
            parent=torch.from_numpy(parent),
            n_tokens=int(token_IL.max()) + 1,
        )

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return len(self.path)

    @property
    def n_nodes(self) -> int:
        """How many nodes there are, the root among them."""
        return len(self.n_ending)

    @property
    def depth(self) -> int:
        """Length of the longest code."""
        return self.path.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.child_ptr.device

    @cached_property
    def items_below(self) -> Tensor:
        """The items whose codes end at a node or below it, level by level: (L, I) int64 of node * I + item, each row ascending.

        Row l is about the nodes at depth l + 1; codes that end above it stand in front, as numbers below 0.
        """
        rows = torch.arange(self.n_items, device=self.device)
        return torch.sort((self.path.T * self.n_items + rows).contiguous(), dim=1).values

    def items_at(self, node_F: Tensor) -> tuple[Tensor, Tensor]:
        """The items whose codes end at nodes: for each the place of its node in `node_F`, and the item row; by place, then by row."""
        count_F = self.n_ending[node_F]
        place_Q = torch.repeat_interleave(torch.arange(len(node_F), device=self.device), count_F)
        nth_Q = torch.arange(len(place_Q), device=self.device) - (count_F.cumsum(0) - count_F)[place_Q]
        return place_Q, self.item_order[self.begin[node_F][place_Q] + nth_Q]

    def to(self, device: torch.device | str) -> Self:
        """The same tree on another device."""
        moved: dict[str, Any] = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "n_tokens"}
        return replace(self, **moved)


def _padded(tokens: NDArray[np.integer] | Ragged) -> LongArray:
    """Codes as a rectangle (I, L) int64 with -1 behind the end of the shorter ones."""
    if isinstance(tokens, Ragged):
        lengths = tokens.lengths
        if len(tokens) == 0 or lengths.min() == 0:
            raise ValueError(
                f"{'There are no codes' if len(tokens) == 0 else f'Item {lengths.argmin()} has no tokens'}. Give each item a code."
            )
        token_IL = np.full((len(tokens), lengths.max()), -1, dtype=np.int64)
        token_IL[tokens.row_of_entry(), np.arange(len(tokens.item)) - np.repeat(tokens.offsets[:-1], lengths)] = tokens.item
        smallest = tokens.item.min()
    else:
        if tokens.ndim != 2 or tokens.size == 0:
            raise ValueError(f"Codes have the shape {tokens.shape}. Give one row of at least one token for each item.")
        token_IL = tokens.astype(np.int64)
        smallest = token_IL.min()
    if smallest < 0:
        raise ValueError(f"A code holds the token {smallest}. Tokens count from 0.")
    return token_IL


def _sorted(token_IL: LongArray) -> tuple[LongArray, LongArray, NDArray[np.bool_]]:
    """The items in the order of their codes, the codes in that order, and whether each begins otherwise than the one before, up to each
    depth."""
    order_I = np.lexsort(token_IL.T[::-1])
    token_IL = token_IL[order_I]
    differs_IL = np.ones(token_IL.shape, dtype=bool)
    differs_IL[1:] = token_IL[1:] != token_IL[:-1]
    np.logical_or.accumulate(differs_IL, axis=1, out=differs_IL)
    return order_I, token_IL, differs_IL


def _refuse_equal(order_I: LongArray, token_IL: LongArray, is_new_I: NDArray[np.bool_]) -> None:
    """Raises where a sorted code equals the one before it."""
    if not is_new_I.all():
        row = int(np.argmin(is_new_I))
        first, second = sorted((int(order_I[row - 1]), int(order_I[row])))
        code = [int(token) for token in token_IL[row] if token >= 0]
        raise ValueError(
            f"Items {first} and {second} have the same code {code}. Give each item a code of its own, for instance with one more level."
        )


def _heights(path_IL: LongArray, n_nodes: int) -> LongArray:
    """For each node the number of tokens of the longest way down, from the bottom level up."""
    longest = path_IL.shape[1]
    length_I = (path_IL >= 0).sum(1)
    height = np.zeros(n_nodes, dtype=np.int64)
    height[0] = longest
    for level in range(longest - 1):
        row = np.flatnonzero(path_IL[:, level] >= 0)
        node = path_IL[row, level]
        start = np.flatnonzero(np.diff(node, prepend=-1))
        height[node[start]] = np.maximum.reduceat(length_I[row], start) - (level + 1)
    return height
