"""Beam search over the codes of a catalogue: only codes that exist, both views from one pass, exclusion inside the search.

The rules are those of the transformers library's `generate` with a prefix function, which published generative recommenders were ranked
with:

* A beam is a node of the trie. One step scores all its children: score of the beam + logit - log-sum-exp over the whole vocabulary
  (`renormalise`: over the children that are legal).
* The `n_beams` best candidates that can be continued go on. A candidate that ends a code is accepted if fewer than `n_beams` candidates
  of the step are better, whether these end or not. A node may do both, where a code is a prefix of another.
* Items that share a code are one candidate. They stand in the list one after the other, with the score of their code.
* The search runs until no beam is alive. Fewer candidates than beams are no harm: the lists are shorter then.
* Length norm `hf`: the sum of log-probabilities / (n + 1) ** power, n + 1 being the number of scored tokens, that is the depth of the
  item's node: n identifier tokens and the end token, where codes carry one. `none`: the sum.

`unseen` searches the tree without the items of the history: a node all of whose items are excluded is no candidate. Beams of both views
go through the decoder together; each carries for each view a flag that says whether it is one of that view's beams, and each view
selects among its own candidates alone, so its list is what a search for it alone gives. (Normalisers of `renormalise` differ between the
views: beams are not shared then, but stand side by side.)

Equal scores: the candidate with the smaller item row below it first, in every selection and in the list. Excluded items do not count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from recbench.core import Histories, Rankings, View
from recbench.nn.codes.excluded import Excluded
from recbench.nn.codes.trie import CodeTrie

# U users, u users still searching, W beams of a user (as many as the user with the most has), N beams in all, R tokens of a beam scored in
# one pass, D width, V vocabulary, S views, E children of all beams, C children of all beams of a user (padded like W), P excluded pairs

LengthNorm = Literal["none", "hf"]

# Logits of so many beams at a time: few enough to stay in a processor's cache, enough to read the head's weights seldom.
_CHUNK_BYTES = {"cpu": 4 * 2**20}
_MAX_CHUNK_BYTES = 256 * 2**20
_MIN_CHUNK_ROWS = 256
_SMALL_SHARE = 1e-30
"""Float32 numbers lose digits not far below."""


class StepDecoder(Protocol):
    """A model that reads beams token by token.

    It keeps, for each user, what its beams have read so far. Users and beams are numbered as in the call before.
    """

    vocabulary: int
    """How many tokens it scores."""

    def start_tokens(self) -> Tensor:
        """The token (U,) int64 that each user's search begins with."""
        ...

    def advance(self, token_uWR: Tensor, parent_uW: Tensor | None, users: Tensor | None, *, node_uWR: Tensor, is_last: bool) -> Tensor:
        """The states (u, W, R, D) after each of the tokens that the beams read now.

        Args:
            token_uWR: (u, W, R) int64; R > 1 only where `is_last`.
            parent_uW: (u, W) int64, which beam of the call before each beam goes on from; None in the first call.
            users: (u,) int64 ascending, which users of the call before take part; None for all.
            node_uWR: (u, W, R) int64, the nodes of the tree that the tokens lead to; -1 for padding.
            is_last: these users are not asked about again. Nothing is kept, and the users who do not take part stay numbered as they were.
        """
        ...

    def logits(self, state_ND: Tensor) -> Tensor:
        """The logits (N, V) float32 of the next token. Asked in chunks, so that they never stand in memory for all beams of a batch."""
        ...


def beam_search(
    decoder: StepDecoder,
    trie: CodeTrie,
    histories: Histories,
    k: int,
    *,
    views: Sequence[View],
    n_beams: int,
    length_norm: LengthNorm = "none",
    length_power: float = 1.0,
    renormalise: bool = False,
    use_chains: bool = True,
) -> Rankings:
    """The best items of each user in each view.

    Args:
        decoder: fresh, for the U users of `histories`.
        trie: the codes, on the decoder's device.
        histories: whose items `unseen` excludes.
        k: length of the lists. They hold at most `n_beams` items; -1 and -inf stand where there is no further one.
        views: which lists are wanted.
        n_beams: beams of each view.
        length_norm: see above.
        length_power: see above.
        renormalise: normalise each step over the legal children instead of the whole vocabulary.
        use_chains: score users whose beams cannot branch any more in one pass to their ends. The lists are the same.

    Returns:
        Rankings with float32 scores; the counter `sequences` holds the number of items listed. A code that does not exist cannot come out.
    """
    if n_beams < 1 or not views:
        raise ValueError(
            f"A search with n_beams={n_beams} for the views {tuple(views)} finds nothing. Ask for one beam and one view at least."
        )
    search = _Search(decoder, trie, histories, tuple(views), n_beams, renormalise)
    # In the decoder's own precision: sums of log-probabilities of autocast's half-width numbers would tie where the model's do not.
    with torch.inference_mode(), torch.autocast(trie.device.type, enabled=False):
        search.run(use_chains)
    return search.rankings(k, length_norm, length_power)


@dataclass(frozen=True, eq=False)
class _Beams:
    """The live beams of the users still searching, padded to the user with the most."""

    user: Tensor
    """(u,), user numbers."""
    node: Tensor
    """(u, W), -1 for padding."""
    score: Tensor
    """(u, W) float32, sums of log-probabilities."""
    token: Tensor
    """(u, W), what the decoder has not read yet."""
    parent: Tensor | None
    """(u, W), beams of the decoder's last call; None before it."""
    is_of: Tensor
    """(S, u, W) bool, whether a beam is one of a view's beams."""
    users: Tensor | None
    """(u,), which users of the decoder's last call these are; None: all of them."""

    def take(self, rows: Tensor) -> "_Beams":
        """Those of some users, without the columns that are padding for all of them."""
        width = int((self.node[rows] >= 0).sum(1).max())
        return _Beams(
            self.user[rows],
            self.node[rows, :width],
            self.score[rows, :width],
            self.token[rows, :width],
            None if self.parent is None else self.parent[rows, :width],
            self.is_of[:, rows, :width],
            rows if self.users is None else self.users[rows],
        )


class _Search:
    """One search, from the root to the lists."""

    def __init__(
        self, decoder: StepDecoder, trie: CodeTrie, histories: Histories, views: tuple[View, ...], n_beams: int, renormalise: bool
    ) -> None:
        self.decoder, self.trie, self.views, self.n_beams, self.renormalise = decoder, trie, views, n_beams, renormalise
        self.n_users = len(histories)
        self.excluded = [Excluded(trie, histories) if view == "unseen" else None for view in views]
        self.found: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in views]
        """For each view parts of what was accepted: users, nodes that end codes, sums."""

    def run(self, use_chains: bool) -> None:
        """Searches until no beam is alive."""
        beams = self._start() if self.n_users else None
        depth = 0
        while beams is not None:
            height_uW = torch.where(beams.node >= 0, self.trie.height[beams.node], 0)
            if use_chains:
                below_uW = self.trie.n_codes[beams.node] - (self.trie.n_ending[beams.node] > 0).long()
                is_chain_u = ((below_uW == 1) | (beams.node < 0)).all(1) & (height_uW.amax(1) > 1)
                rows = torch.nonzero(is_chain_u).squeeze(1)
                if len(rows) == len(is_chain_u):
                    self._finish_chains(beams)
                    return
                if len(rows):
                    self._finish_chains(beams.take(rows))
                    others = torch.nonzero(~is_chain_u).squeeze(1)
                    beams, height_uW = beams.take(others), height_uW[others]
            beams = self._step(beams, depth, is_last=bool((height_uW <= 1).all()))
            depth += 1

    def rankings(self, k: int, length_norm: LengthNorm, length_power: float) -> Rankings:
        """The lists of what was found, best first."""
        items = np.full((len(self.views), self.n_users, k), -1, dtype=np.int32)
        scores = np.full(items.shape, -np.inf, dtype=np.float32)
        for v, parts in enumerate(self.found):
            if not parts:
                continue
            user, item, total = self._listed(v, *(torch.cat(column) for column in zip(*parts, strict=True)))
            if length_norm == "hf":
                total = total / (self.trie.path[item] >= 0).sum(1) ** length_power
            user_F, item_F, score_F = user.cpu().numpy(), item.cpu().numpy(), total.cpu().numpy()
            # A score that is NaN stands first, so that whoever checks the list sees it.
            order = np.lexsort((item_F, np.where(np.isnan(score_F), -np.inf, -score_F), user_F))
            user_F, item_F, score_F = user_F[order], item_F[order], score_F[order]
            place_F = np.arange(len(user_F)) - np.searchsorted(user_F, user_F)
            listed_F = place_F < min(k, self.n_beams)
            items[v, user_F[listed_F], place_F[listed_F]] = item_F[listed_F]
            scores[v, user_F[listed_F], place_F[listed_F]] = score_F[listed_F]
        return Rankings(self.views, items, scores, {"sequences": int((items >= 0).sum()), "invalid": 0, "duplicates": 0})

    def _listed(self, v: int, user_F: Tensor, node_F: Tensor, total_F: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Users, items and sums of what a view has accepted, without the items that it excludes."""
        place_Q, item_Q = self.trie.items_at(node_F)
        user_Q, total_Q = user_F[place_Q], total_F[place_Q]
        excluded = self.excluded[v]
        if excluded is None:
            return user_Q, item_Q, total_Q
        kept_Q = ~excluded.holds(user_Q, item_Q)
        return user_Q[kept_Q], item_Q[kept_Q], total_Q[kept_Q]

    def _start(self) -> _Beams | None:
        """Every user for whom there is an item at the root; one beam for all views, or one for each where they are not shared."""
        device, n_views = self.trie.device, len(self.views)
        width = n_views if self.renormalise else 1
        is_of_SW = torch.eye(n_views, device=device).bool() if self.renormalise else torch.ones(n_views, 1, device=device).bool()
        is_of_SUW = is_of_SW[:, None].repeat(1, self.n_users, 1)
        for v, excluded in enumerate(self.excluded):
            if excluded is not None:
                is_of_SUW[v, excluded.users_without_items] = False
        users = torch.nonzero(is_of_SUW.any(2).any(0)).squeeze(1)
        beams = _Beams(
            torch.arange(self.n_users, device=device),
            torch.zeros(self.n_users, width, dtype=torch.int64, device=device),
            torch.zeros(self.n_users, width, device=device),
            self.decoder.start_tokens()[:, None].expand(-1, width),
            None,
            is_of_SUW,
            None,
        )
        return beams if len(users) == self.n_users else beams.take(users) if len(users) else None

    def _step(self, beams: _Beams, depth: int, *, is_last: bool) -> _Beams | None:
        """The beams after one more token; None where none is alive."""
        trie, n_users, width = self.trie, *beams.node.shape
        state_uWRD = self.decoder.advance(
            beams.token[:, :, None], beams.parent, beams.users, node_uWR=beams.node[:, :, None], is_last=is_last
        )

        live_N = torch.nonzero(beams.node.flatten() >= 0).squeeze(1)
        node_N, user_N = beams.node.flatten()[live_N], live_N // width
        begin_N = trie.child_ptr[node_N]
        count_N = trie.child_ptr[node_N + 1] - begin_N
        ptr_N1 = torch.nn.functional.pad(count_N.cumsum(0), (1, 0))
        row_E = torch.repeat_interleave(torch.arange(len(live_N), device=live_N.device), count_N)
        edge_E = torch.arange(len(row_E), device=live_N.device) + (begin_N - ptr_N1[:-1])[row_E]
        node_E, user_E = trie.child_node[edge_E], user_N[row_E]
        count_u = torch.zeros(n_users, dtype=torch.int64, device=live_N.device).index_add_(0, user_N, count_N)
        ptr_u1 = torch.nn.functional.pad(count_u.cumsum(0), (1, 0))
        n_columns = int(count_u.max())
        place_E = user_E * n_columns + torch.arange(len(row_E), device=live_N.device) - ptr_u1[user_E]

        ends_SE, continues_SE = self._legal(beams, depth, live_N, ptr_N1, row_E, node_E)
        state_ND = state_uWRD.flatten(0, 2)
        if len(live_N) < len(state_ND):
            state_ND = state_ND[live_N]
        legal_E = (ends_SE | continues_SE).any(0)
        total_E = beams.score.flatten()[live_N][row_E] + self._log_probabilities(state_ND, ptr_N1, row_E, trie.child_token[edge_E], legal_E)

        def spread(value_E: Tensor, is_E: Tensor) -> Tensor:
            out = value_E.new_full((n_users * n_columns,), -torch.inf)
            out[place_E] = torch.where(is_E, value_E, -torch.inf)
            return out.view(n_users, n_columns)

        def first_items(v: int) -> Tensor:
            first_E = trie.first_item[node_E]
            excluded = self.excluded[v]
            if excluded is not None:
                child, item = excluded.first_items(depth, beams.user, beams.node, _first_child(beams, live_N, ptr_N1))
                first_E[child] = item
            out = torch.full((n_users * n_columns,), trie.n_items, device=place_E.device)
            out[place_E] = first_E
            return out.view(n_users, n_columns)

        goes_on_SuC = torch.zeros(len(self.views), n_users, n_columns, dtype=torch.bool, device=live_N.device)
        for v in range(len(self.views)):
            may_end, may_continue = bool(ends_SE[v].any()), bool(continues_SE[v].any())
            if may_end:
                best_uC = _best(spread(total_E, ends_SE[v] | continues_SE[v]), self.n_beams, partial(first_items, v))
                accepted = torch.nonzero(best_uC.flatten()[place_E] & ends_SE[v]).squeeze(1)
                self.found[v].append((beams.user[user_E[accepted]], node_E[accepted], total_E[accepted]))
            if may_continue:
                goes_on_SuC[v] = _best(spread(total_E, continues_SE[v]), self.n_beams, partial(first_items, v))
        if not goes_on_SuC.any():
            return None
        return self._next(beams, goes_on_SuC, ptr_u1, row_E, live_N % width, edge_E, total_E)

    def _next(
        self, beams: _Beams, goes_on_SuC: Tensor, ptr_u1: Tensor, row_E: Tensor, beam_N: Tensor, edge_E: Tensor, total_E: Tensor
    ) -> _Beams:
        """The candidates that at least one view goes on with, side by side."""
        any_uC = goes_on_SuC.any(0)
        count_u = any_uC.sum(1)
        users = torch.nonzero(count_u).squeeze(1)
        user_N, column_N = torch.nonzero(any_uC, as_tuple=True)
        n_users, width = len(count_u), int(count_u.max())
        place_N = user_N * width + torch.arange(len(user_N), device=user_N.device) - (count_u.cumsum(0) - count_u)[user_N]
        candidate_N = ptr_u1[user_N] + column_N
        edge_N = edge_E[candidate_N]

        def spread(value_N: Tensor, fill: float) -> Tensor:
            out = value_N.new_full((n_users * width,), fill)
            out[place_N] = value_N
            return out.view(n_users, width)

        following = _Beams(
            beams.user,
            spread(self.trie.child_node[edge_N], -1),
            spread(total_E[candidate_N], -torch.inf),
            spread(self.trie.child_token[edge_N], 0),
            spread(beam_N[row_E[candidate_N]], 0),
            torch.stack([spread(is_of_uC[user_N, column_N], False) for is_of_uC in goes_on_SuC]),
            None,
        )
        return following if len(users) == n_users else following.take(users)

    def _legal(self, beams: _Beams, depth: int, live_N: Tensor, ptr_N1: Tensor, row_E: Tensor, node_E: Tensor) -> tuple[Tensor, Tensor]:
        """For each view and child whether it ends a code and whether it can be continued there; both (S, E) bool."""
        is_of_SE = beams.is_of.flatten(1)[:, live_N][:, row_E]
        ends_SE = is_of_SE & (self.trie.n_ending[node_E] > 0)
        continues_SE = is_of_SE & (self.trie.height[node_E] > 0)
        for v, excluded in enumerate(self.excluded):
            if excluded is not None:
                ended_X, closed_X = excluded.children(depth, beams.user, beams.node, _first_child(beams, live_N, ptr_N1))
                ends_SE[v, ended_X] = False
                continues_SE[v, closed_X] = False
        return ends_SE, continues_SE

    def _log_probabilities(self, state_ND: Tensor, ptr_N1: Tensor, row_E: Tensor, token_E: Tensor, legal_E: Tensor | None) -> Tensor:
        """The log-probability (E,) float32 of each child, chunk by chunk of the beams."""
        chunk_bytes = _CHUNK_BYTES.get(state_ND.device.type, _MAX_CHUNK_BYTES)
        n_rows = max(_MIN_CHUNK_ROWS, chunk_bytes // (4 * self.decoder.vocabulary))
        starts = list(range(0, len(state_ND), n_rows))
        bounds = ptr_N1[torch.tensor([*starts, len(state_ND)], device=ptr_N1.device)].tolist()
        parts = []
        for start, low, high in zip(starts, bounds[:-1], bounds[1:], strict=True):
            value_NV = self.decoder.logits(state_ND[start : start + n_rows])
            row = row_E[low:high] - start
            place = row * value_NV.shape[1] + token_E[low:high]
            if not self.renormalise:
                parts.append(_log_softmax_at(value_NV, row, place))
                continue
            value = value_NV.flatten()[place]
            if legal_E is not None:
                value = value - _segment_logsumexp(torch.where(legal_E[low:high], value, -torch.inf), row, len(value_NV))[row]
            parts.append(value)
        return torch.cat(parts)

    def _finish_chains(self, beams: _Beams) -> None:
        """Scores the only way down from each beam in one pass. No beam branches and none is dropped, so all are accepted."""
        trie = self.trie
        live_N = torch.nonzero(beams.node.flatten() >= 0).squeeze(1)
        node_N = beams.node.flatten()[live_N]
        height_N = trie.height[node_N]
        longest = int(height_N.max())
        token_NR = torch.zeros(len(live_N), longest, dtype=torch.int64, device=live_N.device)
        read_uWR = torch.zeros(*beams.node.shape, longest, dtype=torch.int64, device=live_N.device)
        node_uWR = torch.full_like(read_uWR, -1)
        read_uWR[:, :, 0] = beams.token
        for r in range(longest):
            edge_N = trie.child_ptr[node_N].clamp(max=len(trie.child_node) - 1)
            token_NR[:, r] = trie.child_token[edge_N]
            node_uWR.flatten(0, 1)[live_N, r] = torch.where(r < height_N, node_N, -1)
            node_N = torch.where(r < height_N, trie.child_node[edge_N], node_N)
        total_N = beams.score.flatten()[live_N]
        if not self.renormalise:
            read_uWR.flatten(0, 1)[live_N, 1:] = token_NR[:, :-1]
            state_uWRD = self.decoder.advance(read_uWR, beams.parent, beams.users, node_uWR=node_uWR, is_last=True)
            is_real_NR = torch.arange(longest, device=live_N.device) < height_N[:, None]
            state_ND = state_uWRD.flatten(0, 1)[live_N][is_real_NR]
            one_each = torch.arange(len(state_ND) + 1, device=live_N.device)
            log_NR = total_N.new_zeros(is_real_NR.shape)
            log_NR[is_real_NR] = self._log_probabilities(state_ND, one_each, one_each[:-1], token_NR[is_real_NR], None)
            # Token by token, as the steps would have added them.
            for r in range(longest):
                total_N = total_N + log_NR[:, r]
        user_N = beams.user[live_N // beams.node.shape[1]]
        for v, is_of_uW in enumerate(beams.is_of):
            here = torch.nonzero(is_of_uW.flatten()[live_N] & (total_N != -torch.inf)).squeeze(1)
            self.found[v].append((user_N[here], node_N[here], total_N[here]))


def _first_child(beams: _Beams, live_N: Tensor, ptr_N1: Tensor) -> Tensor:
    """The number (u * W,) of each beam's first child among all children."""
    number_W = torch.zeros(beams.node.numel(), dtype=torch.int64, device=live_N.device)
    number_W[live_N] = ptr_N1[:-1]
    return number_W


def _best(score_uC: Tensor, n: int, first_items: Callable[[], Tensor]) -> Tensor:
    """Whether a candidate is one of the n best of its user, (u, C) bool; never one that scores -inf."""
    if score_uC.shape[1] <= n:
        return score_uC != -torch.inf
    value, column = torch.topk(score_uC, n + 1, dim=1)
    open_u = (value[:, n - 1] == value[:, n]) & (value[:, n] != -torch.inf)
    column = column[:, :n]
    rows = torch.nonzero(open_u).squeeze(1)
    if len(rows):
        # Several candidates share the last score: those with the smaller items go in.
        by_item = torch.argsort(first_items()[rows], dim=1)
        by_score = torch.sort(torch.gather(score_uC[rows], 1, by_item), dim=1, descending=True, stable=True).indices
        column[rows] = torch.gather(by_item, 1, by_score[:, :n])
    best_uC = torch.zeros(score_uC.shape, dtype=torch.bool, device=score_uC.device)
    return best_uC.scatter_(1, column, value[:, :n] != -torch.inf)


def _log_softmax_at(value_NV: Tensor, row_E: Tensor, place_E: Tensor) -> Tensor:
    """The log-softmax of rows at some of their places, (E,).

    On a CPU it is the logarithm of torch's softmax, which is faster than its log-sum-exp; where a share is too small to be exact, the
    log-sum-exp after all.

    Args:
        value_NV: logits.
        row_E: which row each place is in.
        place_E: places in the flat logits.
    """
    if value_NV.device.type != "cpu":
        return value_NV.flatten()[place_E] - torch.logsumexp(value_NV, 1)[row_E]
    share_E = torch.softmax(value_NV, 1).flatten()[place_E]
    small = torch.nonzero(share_E < _SMALL_SHARE).squeeze(1)
    log_E = share_E.log()
    if len(small):
        rows, inverse = torch.unique(row_E[small], return_inverse=True)
        log_E[small] = value_NV.flatten()[place_E[small]] - torch.logsumexp(value_NV[rows], 1)[inverse]
    return log_E


def _segment_logsumexp(value_E: Tensor, row_E: Tensor, n_rows: int) -> Tensor:
    """Log-sum-exp of the values of each row, (n_rows,)."""
    top = value_E.new_full((n_rows,), -torch.inf).scatter_reduce_(0, row_E, value_E, "amax")
    safe = torch.where(top == -torch.inf, 0.0, top)
    return safe + torch.zeros_like(top).index_add_(0, row_E, (value_E - safe[row_E]).exp()).log()
