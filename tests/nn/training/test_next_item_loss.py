"""The loss over next items: where negatives come from, who shares them, and cosines."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from recbench.core import BadRequest
from recbench.nn.training.losses import binary_cross_entropy, full_cross_entropy, generalised_binary_cross_entropy, sampled_softmax
from recbench.nn.training.negatives import UnseenNegatives
from recbench.nn.training.next_item_loss import NextItemLoss, logit_vectors
from recbench.nn.training.next_item_settings import NextItemLossSettings
from recbench.testing import interactions

N_ITEMS = 9
TRAIN = interactions([[0, 1, 2, 3], [4, 5, 6, 7, 8, 0]], N_ITEMS)
SEQUENCE = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
TARGET = torch.tensor([1, 2, 3, 5, 6, 7, 8, 0])


def loss_of(seed: int = 0, **values: Any) -> Tensor:
    torch.manual_seed(7)
    state, item = torch.randn(8, 6), torch.randn(N_ITEMS, 6)
    loss = NextItemLoss(NextItemLossSettings(**values), TRAIN)
    torch.manual_seed(seed)
    return loss(state, item, TARGET, SEQUENCE, torch.tensor([0, 1]))


def vectors() -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    return torch.randn(8, 6), torch.randn(N_ITEMS, 6)


def test_negatives_are_uniform_over_what_the_user_lacks() -> None:
    torch.manual_seed(0)
    sampler = UnseenNegatives(interactions([[0, 3, 4, 3], [7], [1, 2, 3, 4, 5, 6, 7]], 8))
    drawn = sampler.draw(torch.tensor([0, 1, 2, 0]), 20_000)
    for row, allowed in zip(drawn, ([1, 2, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6], [0], [1, 2, 5, 6, 7]), strict=True):
        counts = torch.bincount(row, minlength=8)
        assert torch.nonzero(counts).flatten().tolist() == allowed
        share = counts[allowed] / 20_000
        assert (share - 1 / len(allowed)).abs().max() < 0.02


def test_a_user_with_all_items_is_named() -> None:
    with pytest.raises(BadRequest, match=r"User row 1 has all 3 items .* --set loss=ce where the model has that setting"):
        UnseenNegatives(interactions([[0], [2, 1, 0]], 3))


def test_a_single_item_cannot_be_calibrated() -> None:
    with pytest.raises(BadRequest, match=r"catalogue has 1 item\. Use --set loss=ce"):
        NextItemLoss(NextItemLossSettings(loss="gbce"), interactions([[0, 0]], 1))


@pytest.mark.parametrize("loss", ["bce", "gbce", "ssm"])
def test_a_user_with_all_items_does_no_harm_where_all_are_negatives(loss: str) -> None:
    NextItemLoss(NextItemLossSettings(loss=loss, negatives_from="all"), interactions([[0], [2, 1, 0]], 3))


def test_a_batch_that_shares_all_items_has_the_full_loss() -> None:
    full = loss_of(loss="ce")
    assert loss_of(loss="ssm", negatives_per="batch", n_negatives=50, mask_hits=True).item() == pytest.approx(full.item(), rel=1e-6)
    assert loss_of(loss="ssm", negatives_per="batch", n_negatives=50).item() > full.item() + 0.1
    assert loss_of(loss="ce") == full_cross_entropy(*vectors(), TARGET)


def test_many_negatives_per_slot_approach_the_full_loss_with_the_rate_of_draws() -> None:
    """With K uniform negatives the softmax over them is that over all items whose target is K / I times less likely."""
    state, item = vectors()
    logit = state @ item.T
    positive = logit.gather(1, TARGET[:, None]).squeeze(1)
    n = 200_000
    expected = (torch.logaddexp(positive, logit.logsumexp(1) + torch.log(torch.tensor(n / N_ITEMS))) - positive).sum()
    assert loss_of(loss="ssm", negatives_from="all", negatives_per="slot", n_negatives=n).item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize(("per", "n_drawn"), [("slot", 8), ("sequence", 2), ("batch", 1)])
def test_who_shares_negatives(per: str, n_drawn: int) -> None:
    torch.manual_seed(3)
    n_items = 100_000
    item = torch.randn(n_items, 2, requires_grad=True)
    loss = NextItemLoss(NextItemLossSettings(loss="ssm", negatives_per=per, n_negatives=1), interactions([[0, 1], [0, 2]], n_items))
    loss(torch.randn(8, 2), item, torch.zeros(8, dtype=torch.int64), SEQUENCE, torch.tensor([0, 1])).backward()
    assert item.grad is not None
    # Target 0 and the negatives are the items that the loss knows.
    assert torch.nonzero(item.grad.any(1)).flatten()[0] == 0
    assert item.grad.any(1).sum() == 1 + n_drawn


@pytest.mark.parametrize("loss", ["bce", "gbce", "ssm"])
def test_unseen_negatives_are_never_the_users_own(loss: str) -> None:
    state, item = torch.full((8, 1), 5.0), torch.zeros(N_ITEMS, 1)
    item[[0, 1, 2, 3]] = 1e6  # items of user 0: as negatives they would cost millions
    settings = NextItemLossSettings(loss=loss, negatives_from="unseen", negatives_per="slot", n_negatives=20)
    user_0 = NextItemLoss(settings, TRAIN)(state[:3], item, TARGET[:3], SEQUENCE[:3], torch.tensor([0, 1]))
    assert user_0.item() < 50
    everywhere = settings.model_copy(update={"negatives_from": "all"})
    total = NextItemLoss(everywhere, TRAIN)(state[3:7], item, TARGET[3:7], SEQUENCE[3:7], torch.tensor([0, 1]))
    assert loss == "bce" or total.item() > 1e6


@pytest.mark.parametrize("per", ["slot", "batch"])
@pytest.mark.parametrize("loss", ["bce", "ssm"])
def test_hits_are_left_out(loss: str, per: str) -> None:
    """Where the target is the only item, every negative is a hit."""
    state, item = torch.randn(2, 3), torch.randn(1, 3)
    target = torch.zeros(2, dtype=torch.int64)
    masked, plain = (
        NextItemLoss(
            NextItemLossSettings(loss=loss, negatives_per=per, negatives_from="all", n_negatives=4, mask_hits=mask_hits),
            interactions([[0]], 1),
        )(state, item, target, target, torch.tensor([0])).item()
        for mask_hits in (True, False)
    )
    positive, hit = (state * item[0]).sum(1), torch.full((2, 1), -torch.inf)
    assert masked == pytest.approx((sampled_softmax if loss == "ssm" else binary_cross_entropy)(positive, hit).item())
    assert masked < plain - 0.1


def test_hits_of_the_calibrated_loss_are_left_out() -> None:
    state, item = vectors()
    negative = (state @ item.T).scatter(1, TARGET[:, None], -torch.inf)
    expected = generalised_binary_cross_entropy((state * item[TARGET]).sum(1), negative, N_ITEMS, 0.75)
    assert loss_of(loss="gbce", negatives_per="batch", mask_hits=True).item() == pytest.approx(expected.item())


def test_cosines_over_a_temperature() -> None:
    state, item = vectors()
    expected = full_cross_entropy(state / state.norm(dim=1, keepdim=True) / 0.05, item / item.norm(dim=1, keepdim=True), TARGET)
    assert loss_of(loss="ce", normalise=True, temperature=0.05).item() == pytest.approx(expected.item(), rel=1e-5)
    unit, items = logit_vectors(NextItemLossSettings(normalise=True), torch.zeros(1, 6), item)
    assert not unit.any()
    torch.testing.assert_close(items.norm(dim=1), torch.ones(N_ITEMS))


def test_a_batch_shares_no_negatives_of_one_user() -> None:
    with pytest.raises(ValidationError, match="negatives_from=unseen is impossible"):
        NextItemLossSettings(loss="ssm", negatives_per="batch", negatives_from="unseen")


@pytest.mark.parametrize(
    ("loss", "per", "expected"),
    [
        ("bce", "auto", ("unseen", "slot")),
        ("gbce", "auto", ("all", "slot")),
        ("ssm", "auto", ("unseen", "sequence")),
        ("ssm", "batch", ("all", "batch")),
    ],
)
def test_auto_is_what_each_loss_asks_for(loss: str, per: str, expected: tuple[str, str]) -> None:
    settings = NextItemLossSettings(loss=loss, negatives_per=per)
    assert (settings.draws_from, settings.draws_per) == expected
