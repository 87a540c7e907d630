"""Losses at the trained slots of windows, as the training loop asks for them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recbench.nn.training import NextItemLossSettings, NextItemTraining, Windows
from recbench.testing import interactions

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
