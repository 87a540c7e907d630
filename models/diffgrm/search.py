"""Search over the partial codes of a catalogue: whichever digit is surest comes next, and only codes of items come out.

* A beam is a partial code that items agree with. One step scores all its edges: score of the beam + log-probability of the digit that the
  edge shows, given the digits shown before. The normaliser is that of all values of the digit.
* Paths to one partial code are merged; the best one counts.
* The `n_beams` best partial codes go on. Where several of them lead to the same code alone, all but the best come after all others: they
  would fill the beams with few items, as each code has many partial ones.
* The last step lists every code that the beams lead to.

`unseen` searches the catalogue without the items of the history. A partial code is read once for both views; it has a score in each, as the
best path to it may be missing in one. So each view's list is what a search for it alone gives.

Equal scores: in the list the smaller item row first. Of partial codes that tie exactly for the last beam any may go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbench.core import Histories, Rankings, View
from recbench_models.diffgrm.network import DiffGRMNetwork, Memory
from recbench_models.diffgrm.partial_codes import Excluded, PartialCodes

# U users, W beams of a user (as many as the user with the most has), R beams in all, E edges of all beams, C candidates of a user, V views,
# M digits, Q of them not shown, K values of a digit, F codes found


def catalogue_search(
    network: DiffGRMNetwork, memory: Memory, codes: PartialCodes, histories: Histories, k: int, *, views: Sequence[View], n_beams: int
) -> Rankings:
    """The best items of each user in each view.

    Args:
        network: in eval mode.
        memory: what it has read of the U histories.
        codes: of the catalogue, on the network's device.
        histories: whose items `unseen` excludes.
        k: length of the lists; -1 and -inf stand where there is no further item.
        views: which lists are wanted.
        n_beams: partial codes that go on after each step, in each view.
    """
    excluded = Excluded(codes, histories) if "unseen" in views else None
    search = _Search(network, memory, codes, tuple(excluded if view == "unseen" else None for view in views), n_beams)
    lists = CodeLists(codes, views, len(histories), k, excluded)
    for v, (user_F, node_F, score_F) in enumerate(search.run(k)):
        lists.add(v, user_F, node_F - codes.first_code, score_F)
    return lists.rankings()


@dataclass(frozen=True, eq=False)
class _Beams:
    """Partial codes of all users, by user."""

    user: Tensor
    """(R,)."""
    node: Tensor
    """(R,)."""
    score: Tensor
    """(V, R) float32, sums of log-probabilities; -inf where a beam is none of a view's."""


class _Search:
    """One search, from the empty code to whole ones; `excluded` says for each view what it lacks."""

    def __init__(
        self, network: DiffGRMNetwork, memory: Memory, codes: PartialCodes, excluded: tuple[Excluded | None, ...], n_beams: int
    ) -> None:
        self._network, self._memory, self._codes, self._excluded, self._n_beams = network, memory, codes, excluded, n_beams
        self._n_users = len(memory.state_BPD)

    def run(self, k: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """User, node and score of the k best whole codes of each user, for each view."""
        beams = self._start()
        n_digits = self._codes.n_digits
        for n_shown in range(1, n_digits + 1):
            found = self._step(beams, n_shown, k if n_shown == n_digits else self._n_beams)
            beams = self._joined(found)
            if not len(beams.user):
                break
        return found

    def _start(self) -> _Beams:
        """One beam per user, which shows nothing."""
        device, n_views = self._codes.item.device, len(self._excluded)
        user = torch.arange(self._n_users, device=device)
        node, score = torch.zeros_like(user), torch.zeros(n_views, self._n_users, device=device)
        for v, excluded in enumerate(self._excluded):
            if excluded is not None:
                score[v, excluded.closes(user, node)] = -torch.inf
        return _Beams(user, node, score)

    def _step(self, beams: _Beams, n_shown: int, width: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """User, node and score of what goes on with one more digit in each view, at most `width` nodes of each user."""
        codes = self._codes
        row_E, edge_E = codes.edges_of(beams.node)
        node_E, user_E = codes.edge_node[edge_E], beams.user[row_E]
        log_RQK, digit_RQ = self._log_probabilities(beams, codes.n_digits + 1 - n_shown)
        place_RM = torch.zeros(len(digit_RQ), codes.n_digits, dtype=torch.int64, device=digit_RQ.device)
        place_RM.scatter_(1, digit_RQ, torch.arange(digit_RQ.shape[1], device=digit_RQ.device).expand_as(digit_RQ))
        log_E = log_RQK[row_E, place_RM[row_E, codes.edge_digit[edge_E]], codes.edge_value[edge_E]]
        # Edges of one user are neighbours: as a rectangle, each user's candidates are a row.
        place_E, n_columns = _places(user_E, self._n_users)
        node_UC = torch.zeros(self._n_users * n_columns, dtype=torch.int64, device=log_E.device)
        node_UC[place_E] = node_E
        node_UC = node_UC.view(-1, n_columns)
        found = []
        for v, excluded in enumerate(self._excluded):
            score_E = beams.score[v][row_E] + log_E
            if excluded is not None:
                score_E.masked_fill_(excluded.closes(user_E, node_E), -torch.inf)
            score_UC = torch.full((self._n_users * n_columns,), -torch.inf, device=log_E.device)
            score_UC[place_E] = score_E
            found.append(self._best(node_UC, score_UC.view(-1, n_columns), n_shown, width))
        return found

    def _log_probabilities(self, beams: _Beams, n_masked: int) -> tuple[Tensor, Tensor]:
        """For the digits that are not shown the logarithm of the probability of each value after each beam, (R, Q, K), and which digits
        these are, (R, Q)."""
        codes, network = self._codes, self._network
        place_R, width = _places(beams.user, self._n_users)
        # Where a user has fewer beams any other stands in.
        node_UW = beams.node[:1].repeat(self._n_users * width)
        node_UW[place_R] = beams.node
        node_UW = node_UW.view(-1, width)
        is_masked_UWM = codes.is_masked[node_UW]
        digit_UWQ = torch.nonzero(is_masked_UWM)[:, 2].view(*node_UW.shape, n_masked)
        state_UWQD = network.decode(self._memory, codes.value[node_UW], is_masked_UWM, digit_UWQ)
        digit_RQ = digit_UWQ.flatten(0, 1)[place_R]
        return network.log_probabilities_of(state_UWQD.flatten(0, 1)[place_R], digit_RQ), digit_RQ

    def _best(self, node_UC: Tensor, score_UC: Tensor, n_shown: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """User, node and score of the best candidates, each node once."""
        codes = self._codes
        # Enough for `width` nodes of different codes: no code is met more often than this.
        n_kept = min(width * codes.most_copies(n_shown), score_UC.shape[1])
        score_UC, column_UC = torch.topk(score_UC, n_kept, dim=1)
        node_UC = node_UC.gather(1, column_UC)
        # The order is stable: of the paths to one node the best stays in front.
        node_UC, order_UC = torch.sort(node_UC, dim=1, stable=True)
        score_UC = score_UC.gather(1, order_UC)
        score_UC[:, 1:].masked_fill_(node_UC[:, 1:] == node_UC[:, :-1], -torch.inf)
        score_UC, order_UC = torch.sort(score_UC, dim=1, descending=True, stable=True)
        node_UC = node_UC.gather(1, order_UC)
        if n_shown < codes.n_digits:
            # 0 for a partial code that goes first, 1 for one that leads where a better one leads too, 2 for none at all.
            rank_UC = is_repeated(codes.code[node_UC]).long().masked_fill_(score_UC == -torch.inf, 2)
            order_UC = torch.sort(rank_UC, dim=1, stable=True).indices
            node_UC, score_UC = node_UC.gather(1, order_UC), score_UC.gather(1, order_UC)
        node_UC, score_UC = node_UC[:, :width], score_UC[:, :width]
        # What is not a number stands first and is listed, so that whoever checks the lists sees it.
        user, column = torch.nonzero(score_UC != -torch.inf, as_tuple=True)
        return user, node_UC[user, column], score_UC[user, column]

    def _joined(self, found: list[tuple[Tensor, Tensor, Tensor]]) -> _Beams:
        """The beams of all views, each partial code of a user once."""
        n_nodes = self._codes.n_nodes
        key_Q, place_Q = torch.unique(torch.cat([user * n_nodes + node for user, node, _ in found]), return_inverse=True)
        score = torch.full((len(found), len(key_Q)), -torch.inf, device=key_Q.device)
        start = 0
        for v, (_, _, score_F) in enumerate(found):
            score[v, place_Q[start : start + len(score_F)]] = score_F
            start += len(score_F)
        return _Beams(key_Q // n_nodes, key_Q % n_nodes, score)


class CodeLists:
    """Lists of items from the codes that a search has found.

    Args:
        codes: of the catalogue.
        views: of the lists.
        n_users: U.
        k: their length.
        excluded: what `unseen` lacks; None where it is not asked for.
    """

    def __init__(self, codes: PartialCodes, views: Sequence[View], n_users: int, k: int, excluded: Excluded | None) -> None:
        self._codes, self._views, self._k, self._excluded = codes, tuple(views), k, excluded
        self._items = np.full((len(self._views), n_users, k), -1, dtype=np.int32)
        self._scores = np.full(self._items.shape, -np.inf, dtype=np.float32)

    def add(self, v: int, user_F: Tensor, code_F: Tensor, score_F: Tensor) -> None:
        """Fill a view's lists from users, codes numbered from 0, each at most once for a user, and scores."""
        row_Q, item_Q = self._codes.items_of(code_F)
        user_Q, score_Q = user_F[row_Q], score_F[row_Q]
        if self._views[v] == "unseen" and self._excluded is not None:
            kept_Q = ~self._excluded.holds(user_Q, item_Q)
            user_Q, item_Q, score_Q = user_Q[kept_Q], item_Q[kept_Q], score_Q[kept_Q]
        user, item, score = user_Q.cpu().numpy(), item_Q.cpu().numpy(), score_Q.cpu().numpy()
        order = np.lexsort((item, -score, user))
        user, item, score = user[order], item[order], score[order]
        place = np.arange(len(user)) - np.searchsorted(user, user)
        is_listed = place < self._k
        self._items[v, user[is_listed], place[is_listed]] = item[is_listed]
        self._scores[v, user[is_listed], place[is_listed]] = score[is_listed]

    def rankings(self, *, sequences: int | None = None, invalid: int = 0, duplicates: int = 0) -> Rankings:
        """The lists, with the counts of codes that were written, by default one for each item listed."""
        n_listed = int((self._items >= 0).sum())
        counters = {"sequences": n_listed if sequences is None else sequences, "invalid": invalid, "duplicates": duplicates}
        return Rankings(self._views, self._items, self._scores, counters)


def _places(user_Q: Tensor, n_users: int) -> tuple[Tensor, int]:
    """Where each entry stands in a flattened rectangle with a row per user, and how wide that is; entries of a user are neighbours."""
    count_U = torch.bincount(user_Q, minlength=n_users)
    width = int(count_U.max()) if len(user_Q) else 0
    first_U = count_U.cumsum(0) - count_U
    return user_Q * width + torch.arange(len(user_Q), device=user_Q.device) - first_U[user_Q], width


def is_repeated(key_UC: Tensor) -> Tensor:
    """Whether the same key stands further left in the row, (U, C) bool."""
    sorted_UC, order_UC = torch.sort(key_UC, dim=1, stable=True)
    is_same_UC = torch.zeros_like(key_UC, dtype=torch.bool)
    is_same_UC[:, 1:] = sorted_UC[:, 1:] == sorted_UC[:, :-1]
    return torch.zeros_like(is_same_UC).scatter_(1, order_UC, is_same_UC)
