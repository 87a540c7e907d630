"""The next item at every trained slot of a window, by any of the losses over next items."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core import FitContext, FitReport, Interactions
from recbench.core.budget import Budget
from recbench.core.plugin import Ranker
from recbench.core.ragged import LongArray
from recbench.nn.training.loop import train
from recbench.nn.training.next_item_loss import NextItemLoss
from recbench.nn.training.next_item_settings import NextItemLossSettings
from recbench.nn.training.settings import TrainingSettings
from recbench.nn.training.windows import BatchUnit, Windows

# B windows, T columns, S trained slots, N items, D width


class SlotEncoder(Protocol):
    """A `torch.nn.Module` that gives every slot a state, which must not depend on later slots.

    Attributes:
        n_items: N; item rows are 0..N-1, and row N fills a batch up.
    """

    n_items: int

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items, (N, D): what states are multiplied with."""

    def __call__(self, item_BT: Tensor, length_B: Tensor) -> Any:
        """The state of every slot, (B, T, D), for items (B, T) int64, oldest first, and lengths (B,) int64."""


class SlotTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets, as `train` wants it.

    A model says in `loss` what a state should know of its target; one that reads more of a window than its items overrides `states`.

    Attributes:
        encoder: what is trained.
        windows: of the train part.
        mixes_lengths: whether windows of any lengths meet in a batch.
    """

    def __init__(self, encoder: SlotEncoder, windows: Windows, *, mixes_lengths: bool) -> None:
        """
        Args:
            encoder: what is trained.
            windows: of the train part.
            mixes_lengths: windows of any lengths meet in a batch; they are read in groups of like length, which saves padding.
        """
        super().__init__()
        self.encoder = encoder
        self.windows, self.mixes_lengths = windows, mixes_lengths

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        groups = self.windows.of_like_length(rows) if self.mixes_lengths else [rows]
        states, targets, sequences = zip(*map(self._trained, groups), strict=True)
        first = np.cumsum([0, *map(len, groups)])
        sequence_S = torch.cat([part + int(start) for part, start in zip(sequences, first, strict=False)])
        target_S = torch.cat(targets)
        user_B = torch.from_numpy(self.windows.user[np.concatenate(groups)]).to(target_S.device)
        return self.loss(torch.cat(states), target_S, sequence_S, user_B), len(target_S)

    def loss(self, state_SD: Tensor, target_S: Tensor, sequence_S: Tensor, user_B: Tensor) -> Tensor:
        """Sum of the losses of all trained slots, a scalar.

        Args:
            state_SD: (S, D) state of each slot.
            target_S: (S,) int64, the item that follows each slot.
            sequence_S: (S,) int64, in which of the B windows of the batch the slot stands.
            user_B: (B,) int64, whose window each is.
        """
        raise NotImplementedError

    def states(self, rows: LongArray, item_BT: Tensor, length_B: Tensor) -> Tensor:  # noqa: ARG002
        """The state of every slot, (B, T, D).

        Args:
            rows: (B,) numbers of the windows, which say where in the train part these lie.
            item_BT: (B, T) int64, their items, padded as the encoder reads them.
            length_B: (B,) int64, their lengths.
        """
        state_BTD: Tensor = self.encoder(item_BT, length_B)
        return state_BTD

    def _trained(self, rows: LongArray) -> tuple[Tensor, Tensor, Tensor]:
        """State (S, D), target (S,) and window, as a place in `rows`, (S,) of each trained slot of windows `rows`."""
        device = next(self.parameters()).device
        item_BT, target_BT = (torch.from_numpy(part).to(device) for part in self.windows.padded(rows, self.encoder.n_items))
        state_BTD = self.states(rows, item_BT, torch.from_numpy(self.windows.length[rows]).to(device))
        row_S, column_S = torch.nonzero(target_BT >= 0, as_tuple=True)
        return state_BTD[row_S, column_S], target_BT[row_S, column_S], row_S


class NextItemTraining(SlotTraining):
    """Training by a loss over inner products of states and items, which the settings name."""

    def __init__(
        self, encoder: SlotEncoder, settings: NextItemLossSettings, train: Interactions, windows: Windows, *, mixes_lengths: bool
    ) -> None:
        """
        Args:
            encoder, windows, mixes_lengths: as for `SlotTraining`.
            settings: which loss, how its negatives are drawn.
            train: whose items are no negatives of their user.

        Raises:
            BadRequest: a user has every item, so that there is no negative to draw.
        """
        super().__init__(encoder, windows, mixes_lengths=mixes_lengths)
        self._loss = NextItemLoss(settings, train)

    def loss(self, state_SD: Tensor, target_S: Tensor, sequence_S: Tensor, user_B: Tensor) -> Tensor:
        return self._loss(state_SD, self.encoder.item_ID, target_S, sequence_S, user_B)


def train_next_items(
    context: FitContext,
    module: SlotTraining,
    *,
    batch_size: int,
    batch_unit: BatchUnit,
    settings: TrainingSettings,
    ranker: Ranker,
    name: str = "training",
    budget: Budget | None = None,
) -> FitReport:
    """Train `module` on its windows, each once an epoch: in batches of like length unless it mixes lengths.

    Args:
        context: of the run.
        module: what is trained.
        batch_size: how much a batch holds at most.
        batch_unit: what `batch_size` counts.
        settings, ranker, name, budget: as for `train`, which also says what is raised.
    """
    windows = module.windows

    def batches(epoch: int) -> list[LongArray]:
        generator = context.generator("batches", epoch)
        return windows.batches(bucketed=not module.mixes_lengths, size=batch_size, unit=batch_unit, generator=generator)

    return train(
        context,
        module,
        batches=batches,
        settings=settings,
        ranker=ranker,
        examples_possible=int(windows.n_targets.sum()),
        name=name,
        budget=budget,
    )
