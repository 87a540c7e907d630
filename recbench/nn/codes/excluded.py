"""Items that a search must not list: which nodes of the tree lack what they had, for each user of a batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbench.core import Histories
from recbench.nn.codes.trie import CodeTrie

# U users, u users still searching, W beams of a user, P excluded pairs of user and item


@dataclass(frozen=True, eq=False)
class _Touched:
    """Nodes that the histories touch at one depth: T pairs of a user and a node with an excluded item at or below it."""

    user: Tensor
    """(T,)."""
    node: Tensor
    """(T,)."""
    is_ended: Tensor
    """(T,) bool, whether all items whose code ends there are gone."""
    is_closed: Tensor
    """(T,) bool, whether there is nothing left below, where there was something."""
    number: Tensor
    """(Q,), for each such item which of the T pairs it belongs to; by user, then by item."""
    item: Tensor
    """(Q,)."""


class Excluded:
    """Nodes that the tree lacks for a user whose history is excluded."""

    def __init__(self, trie: CodeTrie, histories: Histories) -> None:
        self.trie, self.n_users = trie, len(histories)
        device = trie.device
        pair_P = torch.from_numpy(np.unique(histories.row_of_entry() * trie.n_items + histories.item)).to(device)
        self._pair_P = pair_P
        user_P, item_P = pair_P // trie.n_items, pair_P % trie.n_items
        n_gone_U = torch.bincount(user_P, minlength=len(histories))
        self.users_without_items = torch.nonzero(n_gone_U == trie.n_items).squeeze(1)
        path_PL = trie.path[item_P]
        self.levels: list[_Touched] = []
        """For each depth of a child."""
        for level in range(trie.depth):
            here = torch.nonzero(path_PL[:, level] >= 0).squeeze(1)
            node_Q, item_Q = path_PL[here, level], item_P[here]
            pair, number_Q, count = torch.unique(user_P[here] * trie.n_nodes + node_Q, return_inverse=True, return_counts=True)
            ends_Q = path_PL[here, level + 1] < 0 if level + 1 < trie.depth else torch.ones_like(here, dtype=torch.bool)
            ended = torch.zeros_like(count).index_add_(0, number_Q, ends_Q.long())
            user, node = pair // trie.n_nodes, pair % trie.n_nodes
            at_node = trie.n_ending[node]
            below = trie.n_leaves[node] - at_node
            is_ended, is_closed = (at_node > 0) & (ended == at_node), (below > 0) & (count - ended == below)
            self.levels.append(_Touched(user, node, is_ended, is_closed, number_Q, item_Q))

    def holds(self, user_Q: Tensor, item_Q: Tensor) -> Tensor:
        """Whether an item is excluded for a user, (Q,) bool."""
        pair_Q = user_Q * self.trie.n_items + item_Q
        if not len(self._pair_P):
            return torch.zeros_like(pair_Q, dtype=torch.bool)
        place_Q = torch.searchsorted(self._pair_P, pair_Q).clamp(max=len(self._pair_P) - 1)
        return self._pair_P[place_Q] == pair_Q

    def children(self, level: int, user_u: Tensor, node_uW: Tensor, first_child_W: Tensor) -> tuple[Tensor, Tensor]:
        """Which children of the beams no longer end a code, and which can no longer be continued.

        Args:
            level: depth of the beams.
            user_u: numbers of the users still searching.
            node_uW: their beams.
            first_child_W: (u * W,) the number of each beam's first child among all children.
        """
        touched = self.levels[level]
        x = torch.nonzero(touched.is_ended | touched.is_closed).squeeze(1)
        child, x = self._numbers(touched, x, user_u, node_uW, first_child_W)
        return child[touched.is_ended[x]], child[touched.is_closed[x]]

    def first_items(self, level: int, user_u: Tensor, node_uW: Tensor, first_child_W: Tensor) -> tuple[Tensor, Tensor]:
        """The children of the beams whose smallest item is excluded, and for each the smallest one that is not. Arguments as above."""
        touched, trie = self.levels[level], self.trie
        keys = trie.items_below[level]
        order_Q = torch.argsort(touched.number, stable=True)
        number_Q, item_Q = touched.number[order_Q], touched.item[order_Q]
        start_T = torch.searchsorted(keys, touched.node * trie.n_items)
        place_Q = torch.searchsorted(keys, touched.node[number_Q] * trie.n_items + item_Q) - start_T[number_Q]
        # The smallest items below a node are gone for as long as the excluded ones there count up with all: 0, 1, 2, ...
        nth_Q = torch.arange(len(number_Q), device=keys.device) - torch.searchsorted(number_Q, number_Q)
        n_gone_T = torch.zeros_like(start_T).index_add_(0, number_Q, (place_Q == nth_Q).long())
        x = torch.nonzero((n_gone_T > 0) & (n_gone_T < trie.n_leaves[touched.node])).squeeze(1)
        child, x = self._numbers(touched, x, user_u, node_uW, first_child_W)
        return child, keys[(start_T + n_gone_T)[x]] % trie.n_items

    def _numbers(self, touched: _Touched, x: Tensor, user_u: Tensor, node_uW: Tensor, first_child_W: Tensor) -> tuple[Tensor, Tensor]:
        """The children of the beams that are among the pairs `x` of a user and a node: their numbers, and which pair each one is."""
        user_X, node_X = touched.user[x], touched.node[x]
        row_U = torch.full((self.n_users,), -1, device=user_X.device)
        row_U[user_u] = torch.arange(len(user_u), device=user_X.device)
        row_X, above_X = row_U[user_X], self.trie.parent[node_X]
        is_here_XW = (node_uW[row_X] == above_X[:, None]) & (row_X >= 0)[:, None]
        here, w = torch.nonzero(is_here_XW, as_tuple=True)
        # Edges lead to nodes in their order: edge e ends in node e + 1.
        first = first_child_W[row_X[here] * node_uW.shape[1] + w]
        return first + node_X[here] - 1 - self.trie.child_ptr[above_X[here]], x[here]
