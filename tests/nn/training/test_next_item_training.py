"""Losses at the trained slots of windows, as the training loop asks for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recbench.core import Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training import BatchUnit, NextItemLossSettings, NextItemTraining, TrainingSettings, Windows, train_next_items
from recbench.testing import LightContext, interactions

N_ITEMS = 9
TRAIN = interactions([[0, 1, 2], [3, 4], [5, 6, 7, 8, 0, 1], [2], []], N_ITEMS)


class Sums(nn.Module):
    """The state of a slot is the sum of the items' vectors so far."""

    def __init__(self) -> None:
        super().__init__()
        self.n_items = N_ITEMS
        torch.manual_seed(0)
        self.table = nn.Embedding(N_ITEMS + 1, 4, padding_idx=N_ITEMS)

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        return self.table.weight[: self.n_items]

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        vectors: Tensor = self.table(item_BT)
        return vectors.cumsum(1)


@pytest.mark.parametrize("mixes_lengths", [False, True])
def test_the_loss_is_summed_over_the_trained_slots(mixes_lengths: bool) -> None:
    encoder, windows = Sums(), Windows.of(TRAIN, 4)
    module = NextItemTraining(encoder, NextItemLossSettings(loss="ce"), TRAIN, windows, mixes_lengths=mixes_lengths)
    total, n_targets = module(np.arange(len(windows)))
    assert n_targets == 2 + 1 + 5
    expected = 0.0
    for row in range(len(windows)):
        item, target = windows.padded(np.array([row]), N_ITEMS)
        state = encoder(torch.from_numpy(item), torch.tensor([item.shape[1]]))[0]
        log_share = (state @ encoder.item_ID.T).log_softmax(1)
        expected -= sum(log_share[slot, wanted].item() for slot, wanted in enumerate(target[0]) if wanted >= 0)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    total.backward()
    assert encoder.table.weight.grad is not None
    assert encoder.table.weight.grad[:N_ITEMS].any(1).all()


def test_negatives_are_those_of_the_slots_own_user() -> None:
    # Users 0 and 1 lack one item each: whatever is drawn for them is known.
    train = interactions([[0, 1, 2, 3, 4, 5, 6, 7], [8, 7, 6, 5, 4, 3, 2, 1]], N_ITEMS)
    encoder, windows = Sums(), Windows.of(train, 8)
    module = NextItemTraining(encoder, NextItemLossSettings(loss="bce"), train, windows, mixes_lengths=True)
    total, n_targets = module(np.array([1, 0]))
    assert n_targets == 14
    expected = torch.zeros(())
    for row, lacking in enumerate((8, 0)):
        item, target = (torch.from_numpy(part)[0] for part in windows.padded(np.array([row]), N_ITEMS))
        score = encoder(item[None], torch.tensor([7]))[0] @ encoder.item_ID.T
        chosen = score.gather(1, target[:, None])[:, 0]
        expected -= (nn.functional.logsigmoid(chosen) + nn.functional.logsigmoid(-score[:, lacking])).sum()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


class Noting(NextItemTraining):
    """Notes the batches that it is given, and adds a number of its own to the states of each window."""

    def __init__(self, *, mixes_lengths: bool) -> None:
        super().__init__(Sums(), NextItemLossSettings(loss="ce"), TRAIN, Windows.of(TRAIN, 4), mixes_lengths=mixes_lengths)
        self.batches: list[list[int]] = []

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        if torch.is_grad_enabled():
            self.batches.append(rows.tolist())
        return super().forward(rows)

    def states(self, rows: LongArray, item_BT: Tensor, length_B: Tensor) -> Tensor:
        assert (length_B == torch.from_numpy(self.windows.length[rows])).all()
        return super().states(rows, item_BT, length_B) + torch.from_numpy(self.windows.start[rows])[:, None, None]

    def generate(self, queries: Queries, k: int) -> Rankings:
        return full_catalogue_topk(torch.zeros(len(queries), 4), self.encoder.item_ID, queries, k)


def test_states_may_come_from_more_than_the_items() -> None:
    module = Noting(mixes_lengths=True)
    whole, n_targets = module(np.arange(len(module.windows)))
    parts = [module(np.array([row])) for row in range(len(module.windows))]
    assert n_targets == sum(n for _, n in parts)
    assert whole.item() == pytest.approx(sum(part.item() for part, _ in parts), rel=1e-5)
    plain = NextItemTraining(module.encoder, NextItemLossSettings(loss="ce"), TRAIN, module.windows, mixes_lengths=True)
    assert abs(whole.item() - plain(np.arange(len(module.windows)))[0].item()) > 1


@pytest.mark.parametrize(("size", "unit", "n_batches"), [(2, "sequences", 2), (1000, "targets", 1)])
@pytest.mark.parametrize("mixes_lengths", [False, True])
def test_every_window_is_trained_once_an_epoch(mixes_lengths: bool, size: int, unit: BatchUnit, n_batches: int, tmp_path: Path) -> None:
    module = Noting(mixes_lengths=mixes_lengths)
    settings = TrainingSettings(max_epochs=2, validate_every_epochs=2)
    report = train_next_items(
        LightContext(TRAIN, tmp_path, judge=lambda _: 0.0), module, batch_size=size, batch_unit=unit, settings=settings, ranker=module
    )
    epochs = module.batches[-2 * n_batches :]
    for epoch in (epochs[:n_batches], epochs[n_batches:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(len(module.windows)))
        if not mixes_lengths:
            assert all(np.diff(module.windows.length[batch]).min(initial=0) >= 0 for batch in epoch)
    assert (report.examples_seen, report.examples_possible) == (16, 8)
