"""From histories to lists, with one state of the weights."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.core import Histories, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.compute import over_batches
from recbench.nn.ranking import flat_index_topk, full_catalogue_topk, topk_from_scores
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.objective import unit
from recbench_models.hllm.user_side import EarlyHead, LateHead, UserSide

# B queries, b queries of one batch, I items, i items of one block, T columns, D width

_SLOTS = {"cpu": 2_048, "cuda": 65_536}
"""Places of histories that are read at a time."""
_CANDIDATES = 256
"""Candidates behind one history at a time, under early fusion."""


class Answers:
    """Ranks the catalogue.

    Args:
        user: in its present state.
        vectors: (n_items + 1, D) of the items and of the empty text, by the item tower.
        config: of the model.
        weights_version: what is computed here belongs to.
    """

    def __init__(self, user: UserSide, vectors: NDArray[np.float32], config: HLLMConfig, weights_version: int) -> None:
        self.weights_version = weights_version
        self._user, self._config = user, config
        self._device = user.temperature.log_scale.device
        self._n_items = len(vectors) - 1
        with torch.inference_mode():
            self._item_ID = user.projected(torch.from_numpy(np.array(vectors)).to(self._device))
            head = user.head
            self._unit_ID = unit(self._item_ID[:-1]) if head is None else None
            self._share_ID = head.of_item(self._item_ID[:-1]) if isinstance(head, LateHead) else None

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k best items of each query in each view."""
        head = self._user.head
        with torch.inference_mode():
            if head is None:
                assert self._unit_ID is not None
                search = full_catalogue_topk if self._config.search == "blocks" else flat_index_topk
                return search(unit(self._states(queries.histories)), self._unit_ID, queries, k)
            if isinstance(head, EarlyHead):
                return topk_from_scores(lambda rows: self._early(queries.histories.take(rows)), queries, k, self._n_items)
            user_BD = self._states(queries.histories)
            return topk_from_scores(lambda rows: self._late(user_BD[torch.from_numpy(rows).to(self._device)]), queries, k, self._n_items)

    def _states(self, histories: Histories) -> Tensor:
        """The user tower's state after each history, (B, D): that of the newest item, or of the learnt vector behind it."""
        newest = histories.tail(self._config.sequences.max_length)

        def read(rows: LongArray) -> Tensor:
            with torch.inference_mode():
                vector_bTD, last_b = self._vectors_of(newest.take(rows))
                if self._user.user_token is not None:
                    return self._user.users_behind(vector_bTD, last_b[:, None])[:, 0]
                state_bTD: Tensor = self._user.tower(vector_bTD)
                return state_bTD[torch.arange(len(rows), device=self._device), last_b]

        state_BD = torch.zeros(len(histories), self._user.tower.width, device=self._device)
        batches = newest.length_buckets(_SLOTS.get(self._device.type, _SLOTS["cuda"]))
        for rows, states in zip(batches, over_batches(read, batches, self._device), strict=True):
            state_BD[torch.from_numpy(rows).to(self._device)] = states
        return state_BD

    def _vectors_of(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """The vectors of histories, (b, T, D), and the place of each one's newest item, (b,)."""
        item_bT = histories.padded(self._n_items)
        if item_bT.shape[1] == 0:
            item_bT = np.full((len(histories), 1), self._n_items, np.int32)
        last_b = np.maximum(histories.lengths - 1, 0)
        return self._item_ID[torch.from_numpy(item_bT).long().to(self._device)], torch.from_numpy(last_b).to(self._device)

    def _late(self, user_bD: Tensor) -> Tensor:
        """Logits (b, I) of all items."""
        head = self._user.head
        assert isinstance(head, LateHead)
        assert self._share_ID is not None
        item_1ID, share_1ID = self._item_ID[None, :-1], self._share_ID[None]
        return torch.cat([head.of_shares(user_1D[None], item_1ID, share_1ID) for user_1D in user_bD])

    def _early(self, histories: Histories) -> Tensor:
        """Logits (b, I) of all items, a block of candidates behind the history at a time."""
        newest = histories.tail(self._config.sequences.max_length)
        rows = []
        for row in range(len(newest)):
            vector_1TD, last_1 = self._vectors_of(newest.take([row]))
            blocks = []
            for start in range(0, self._n_items, _CANDIDATES):
                item_1iD = self._item_ID[None, start : min(start + _CANDIDATES, self._n_items)]
                slot_1i = last_1[:, None].expand(-1, item_1iD.shape[1])
                blocks.append(self._user.logits_behind(vector_1TD, slot_1i, item_1iD))
            rows.append(torch.cat(blocks, 1))
        return torch.cat(rows)
