"""The network in training: sequences in, sum of losses out."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recbench.core import StageFailed, World
from recbench.core.ragged import LongArray
from recbench.nn.compute import gather_rows, product
from recbench.nn.training import Windows
from recbench_models.hllm.collapse import REMEDY, Verdict, Watch
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.data import drawn, drawn_beside
from recbench_models.hllm.item_tower import ItemTower, distinct
from recbench_models.hllm.objective import Contrast, info_nce, unit
from recbench_models.hllm.user_side import UserSide

# B sequences, T places, S places with a target, N negatives, U distinct items, C candidates of a place, D width

_REPORT_EVERY = 25
"""Looks of the guard between two lines of the log."""


class CachedItems(nn.Module):
    """Item vectors that were computed before, in the place of an item tower.

    Args:
        vectors: (n_items + 1, D) float32, may be memory-mapped.
    """

    def __init__(self, vectors: NDArray[np.float32], device: torch.device) -> None:
        super().__init__()
        self.vectors, self._device = vectors, device

    def forward(self, item_M: LongArray) -> Tensor:
        """The vectors of items, (M, D)."""
        return torch.from_numpy(self.vectors[item_M]).to(self._device)


class HLLMTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of sequences `rows` and the number of their targets.

    Args:
        items: makes the vectors of items.
        user: everything else that is learnt.
        windows: the sequences.
        n_items: of the catalogue.
        config: of the model.
        world: the processes that share negatives.
        log: where the choice among candidates is reported.
    """

    def __init__(
        self,
        items: ItemTower | CachedItems,
        user: UserSide,
        windows: Windows,
        n_items: int,
        config: HLLMConfig,
        world: World,
        log: logging.Logger,
    ) -> None:
        super().__init__()
        self.items, self.user = items, user
        self._windows, self._n_items, self._config, self._world, self._log = windows, n_items, config, world, log
        self._watch, self._n_looks = Watch(), 0
        self.weights_version = 0
        """Changes with every switch between training and answering."""

    def train(self, mode: bool = True) -> "HLLMTraining":
        """Switch dropout on or off."""
        self.weights_version += 1
        return super().train(mode)

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        item_BT, target_BT = self._windows.padded(rows, self._n_items)
        is_target_BT = target_BT >= 0
        own = torch.from_numpy(np.concatenate([np.where(item_BT < self._n_items, item_BT, -1), target_BT], 1))
        if self._config.negatives.count is None:
            n_targets = torch.from_numpy(is_target_BT.sum(1))
            pool_N = drawn_beside(own, n_targets, self._n_items, self._config.sequences.max_length + 1).flatten()
        else:
            pool_N = drawn(-(-self._config.negatives.count // self._world.size), self._n_items)
        row_S, slot_S = np.nonzero(is_target_BT)
        target_S = target_BT[row_S, slot_S]
        groups = [item_BT, target_S, pool_N.numpy()]
        is_discriminative = self._config.task == "discriminative"
        if is_discriminative:
            groups.append(self._labelled(own, row_S, target_S))
        unique_U, places = distinct(*groups)
        vector_UD = self.user.projected(self.items(unique_U))
        place_BT, place_S, place_N = (torch.from_numpy(place).to(vector_UD.device) for place in places[:3])
        vector_BTD = functional.embedding(place_BT, vector_UD)
        row, slot = (torch.from_numpy(index).to(vector_UD.device) for index in (row_S, slot_S))
        loss = vector_UD.new_zeros(())
        if not is_discriminative or self._config.discriminative.auxiliary_weight > 0:
            state_SD = self.user.tower(vector_BTD)[row, slot]
            contrast = self._contrast(unit(state_SD), unit(vector_UD), (place_S, place_N), target_S, pool_N)
            self._look_at(contrast)
            loss = contrast.loss
        if is_discriminative:
            place_SC = torch.from_numpy(places[3]).to(vector_UD.device)
            loss = self._config.discriminative.auxiliary_weight * loss + self._classification(
                vector_BTD, functional.embedding(place_SC, vector_UD), row, slot
            )
        return loss, len(target_S)

    def _contrast(self, query_SD: Tensor, unit_UD: Tensor, places: tuple[Tensor, Tensor], target_S: LongArray, pool_N: Tensor) -> Contrast:
        """The generative loss against the negatives of all processes."""
        config, (place_S, place_N) = self._config, places
        # Rows of an embedding: on a CPU their gradient takes half the time of that of an index.
        pool_ND = gather_rows(functional.embedding(place_N, unit_UD), self._world)
        pool_id_N = gather_rows(pool_N.to(unit_UD.device)[:, None], self._world)[:, 0]
        target = torch.from_numpy(target_S).to(unit_UD.device)
        is_false_SN = torch.zeros(len(target), len(pool_id_N), dtype=torch.bool, device=unit_UD.device)
        if config.negatives.masked in ("id", "both"):
            is_false_SN |= target[:, None] == pool_id_N
        if config.negatives.masked in ("cosine", "both"):
            with torch.no_grad():
                distinct_P, inverse_S = torch.unique(place_S, return_inverse=True)
                is_near_PN = product(unit_UD[distinct_P].detach(), pool_ND.detach()) > config.negatives.cosine_threshold
            is_false_SN |= is_near_PN[inverse_S]
        return info_nce(query_SD, functional.embedding(place_S, unit_UD), pool_ND, self.user.temperature(), is_false_SN)

    def _labelled(self, own_BT: Tensor, row_S: LongArray, target_S: LongArray) -> LongArray:
        """The candidates of each place, (S, 1 + negatives): its target first, then items that its sequence does not hold."""
        n_each = self._config.discriminative.negatives
        negative_SK = drawn_beside(own_BT[row_S], torch.full((len(row_S),), n_each), self._n_items, n_each)
        labelled: LongArray = np.concatenate([target_S[:, None], negative_SK.numpy()], 1)
        return labelled

    def _classification(self, vector_BTD: Tensor, candidate_SCD: Tensor, row_S: Tensor, slot_S: Tensor) -> Tensor:
        """Sum over places of the mean binary cross-entropy of a place's candidates."""
        n_users, n_slots, width = vector_BTD.shape
        n_candidates = candidate_SCD.shape[1]
        item = vector_BTD.new_zeros(n_users, n_slots, n_candidates, width)
        item[row_S, slot_S] = candidate_SCD.to(item.dtype)
        slot_BE = torch.arange(n_slots, device=item.device).repeat_interleave(n_candidates).expand(n_users, -1)
        logit = self.user.logits_behind(vector_BTD, slot_BE, item.flatten(1, 2)).view(n_users, n_slots, n_candidates)[row_S, slot_S]
        label = torch.zeros_like(logit)
        label[:, 0] = 1.0
        return functional.binary_cross_entropy_with_logits(logit.float(), label.float(), reduction="none").mean(1).sum()

    def _look_at(self, contrast: Contrast) -> None:
        """Tell the log how the choice goes; stop where no choice is left, because the item vectors have become alike."""
        verdict = self._watch.saw(contrast)
        if verdict is Verdict.FINE:
            self._n_looks += 1
            if self._n_looks % _REPORT_EVERY == 1:
                self._log.info("%s", self._watch.report)
        elif verdict is Verdict.SUSPICIOUS:
            self._log.warning("item vectors grow alike: %s. %s", self._watch.report, REMEDY)
        elif verdict is Verdict.COLLAPSED:
            raise StageFailed(f"The item vectors have collapsed: {self._watch.report}. Loss and gradient are 0 from here on. {REMEDY}")
