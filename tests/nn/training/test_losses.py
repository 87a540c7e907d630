"""Losses against plain references."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbench.nn.training.losses import (
    binary_cross_entropy,
    full_cross_entropy,
    generalised_binary_cross_entropy,
    sampled_cross_entropy,
    sampled_softmax,
)


def example(n_slots: int, n_items: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden = (2 * torch.randn(n_slots, width, generator=generator, dtype=dtype)).requires_grad_()
    item = torch.randn(n_items, width, generator=generator, dtype=dtype).requires_grad_()
    return hidden, item, torch.randint(n_items, (n_slots,), generator=generator)


def test_full_cross_entropy_equals_a_loop() -> None:
    hidden, item, target = example(5, 7, 3, torch.float64)
    total = 0.0
    for h, t in zip(hidden.tolist(), target.tolist(), strict=True):
        logits = [sum(a * b for a, b in zip(h, e, strict=True)) for e in item.tolist()]
        total += math.log(sum(math.exp(x) for x in logits)) - logits[t]
    assert full_cross_entropy(hidden, item, target).item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("chunk_bytes", [1, 8 * 11 * 4, 2**20])
def test_full_cross_entropy_has_the_right_gradients(chunk_bytes: int) -> None:
    hidden, item, target = example(13, 11, 4, torch.float64)

    def loss(h: Tensor, e: Tensor) -> Tensor:
        return full_cross_entropy(h, e, target, chunk_bytes=chunk_bytes)

    assert torch.autograd.gradcheck(loss, (hidden, item))


def test_chunks_do_not_matter_and_equal_torch() -> None:
    hidden, item, target = example(300, 2000, 32)
    expected = functional.cross_entropy((hidden @ item.T).double(), target, reduction="sum")
    expected_gradients = torch.autograd.grad(3 * expected, (hidden, item))
    for chunk_bytes in (4 * 2000, 4 * 2000 * 7, 2**24):
        loss = full_cross_entropy(hidden, item, target, chunk_bytes=chunk_bytes)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        for got, wanted in zip(torch.autograd.grad(3 * loss, (hidden, item)), expected_gradients, strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_only_the_gradients_asked_for() -> None:
    hidden, item, target = example(6, 9, 4)
    full_cross_entropy(hidden, item.detach(), target).backward()
    assert hidden.grad is not None
    full_cross_entropy(hidden.detach(), item, target).backward()
    assert item.grad is not None
    with torch.no_grad():
        assert not full_cross_entropy(hidden, item, target).requires_grad


def test_a_gradient_that_is_added_to_leaves_the_next_one_as_it_is() -> None:
    hidden, item, target = example(6, 9, 4)
    losses = full_cross_entropy(hidden, item, target), sampled_cross_entropy(hidden, item, target, torch.tensor([[1, 2]] * 6))
    for loss in losses:
        (once,) = torch.autograd.grad(loss, item, retain_graph=True)
        item.grad = None
        for _ in range(2):
            loss.backward(retain_graph=True)
            torch.testing.assert_close(item.grad, once)
            item.grad.mul_(7)
            item.grad = None


@pytest.mark.parametrize("bits", [89.0, 91.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_powers_with_and_without_a_shift_are_exact(bits: float, sign: int) -> None:
    hidden, item, target = example(6, 500, 8)
    with torch.no_grad():
        # All items lie almost along the first direction, so that all logits are nearly as large, or as small, as the bound lets them be.
        item.mul_(0.01)[:, 0] = 1.0
        hidden.mul_(0.01)[:, 0] = sign
        hidden.mul_(bits * math.log(2) / (hidden.norm(dim=1).max() * item.norm(dim=1).max()))
    expected = functional.cross_entropy(hidden.double() @ item.double().T, target, reduction="sum")
    loss = full_cross_entropy(hidden, item, target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for got, wanted in zip(torch.autograd.grad(loss, (hidden, item)), torch.autograd.grad(expected, (hidden, item)), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_logits_of_thousands_stay_finite() -> None:
    hidden, item, target = example(4, 50, 8)
    loss = full_cross_entropy(1e3 * hidden, item, target)
    expected = functional.cross_entropy((1e3 * hidden @ item.T).double(), target, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(torch.isfinite(part).all() for part in torch.autograd.grad(loss, (hidden, item)))


def test_autocast_keeps_the_softmax_in_float32() -> None:
    hidden, item, target = example(200, 500, 16)
    expected = full_cross_entropy(hidden, item, target)
    expected_gradients = torch.autograd.grad(expected, (hidden, item))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = full_cross_entropy(hidden, item, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
    for got, wanted in zip(torch.autograd.grad(loss, (hidden, item)), expected_gradients, strict=True):
        assert got.dtype == torch.float32
        assert (got - wanted).norm() < 0.02 * wanted.norm()


def test_no_slots_cost_nothing() -> None:
    hidden, item, _ = example(3, 5, 4)
    loss = full_cross_entropy(hidden[:0], item, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert item.grad is not None
    assert not item.grad.any()


def test_binary_cross_entropy_by_hand() -> None:
    loss = binary_cross_entropy(torch.tensor([0.0, 2.0]), torch.tensor([[0.0], [-1.0]]))
    by_hand = 2 * math.log(2) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


def test_gbce_with_one_negative_and_no_calibration_is_bce() -> None:
    positive, negative = torch.randn(20), torch.randn(20, 1)
    gbce = generalised_binary_cross_entropy(positive, negative, n_items=500, calibration=0.0)
    assert 2 * gbce.item() == pytest.approx(binary_cross_entropy(positive, negative).item(), rel=1e-6)


def test_gbce_weighs_the_positive_by_beta() -> None:
    positive, negative = torch.tensor([1.5]), torch.tensor([[0.5, -0.5]])
    alpha = 2 / 10
    beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
    by_hand = -(beta * math.log(1 / (1 + math.exp(-1.5))) + math.log(1 / (1 + math.exp(0.5))) + math.log(1 / (1 + math.exp(-0.5)))) / 3
    assert generalised_binary_cross_entropy(positive, negative, n_items=11, calibration=0.75).item() == pytest.approx(by_hand, rel=1e-6)


def test_sampled_softmax_with_all_negatives_is_cross_entropy() -> None:
    hidden, item, target = example(30, 12, 4)
    score = hidden @ item.T
    is_other = torch.ones_like(score, dtype=torch.bool).scatter(1, target[:, None], False)
    loss = sampled_softmax(score.gather(1, target[:, None])[:, 0], score[is_other].view(30, 11))
    assert loss.item() == pytest.approx(full_cross_entropy(hidden, item, target).item(), rel=1e-6)


def test_sampled_softmax_takes_the_rate_off() -> None:
    positive, negative = torch.randn(9), torch.randn(9, 4)
    rate = torch.rand(9, 4) + 0.5
    corrected = sampled_softmax(positive, negative, rate.log())
    assert corrected.item() == pytest.approx(sampled_softmax(positive, negative - rate.log()).item(), rel=1e-6)


def all_but(target: Tensor, n_items: int) -> Tensor:
    """Every other item of each slot, (S, I - 1)."""
    return torch.stack([torch.tensor([j for j in range(n_items) if j != t]) for t in target.tolist()])


@pytest.mark.parametrize("chunk_bytes", [1, 400, None])
def test_sampling_all_other_items_is_the_full_loss(chunk_bytes: int | None) -> None:
    hidden, item, target = example(13, 11, 4, torch.float64)
    everything = torch.arange(11).expand(13, 11)
    expected = full_cross_entropy(hidden, item, target)
    wanted = torch.autograd.grad(expected, (hidden, item))
    for negative, mask_hits in ((all_but(target, 11), False), (everything, True)):
        loss = sampled_cross_entropy(hidden, item, target, negative, mask_hits=mask_hits, chunk_bytes=chunk_bytes)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, (hidden, item)), wanted)
    assert sampled_cross_entropy(hidden, item, target, everything) > expected + 0.1


@pytest.mark.parametrize("mask_hits", [True, False])
def test_chunks_of_sampled_slots_equal_the_plain_form(mask_hits: bool) -> None:
    hidden, item, target = example(40, 9, 5, torch.float64)
    negative = torch.randint(9, (40, 6), generator=torch.Generator().manual_seed(1))
    score = torch.einsum("sd,skd->sk", hidden, item[negative])
    if mask_hits:
        score = score.masked_fill(negative == target[:, None], -torch.inf)
    positive = (hidden * item[target]).sum(1)
    expected = (torch.logsumexp(torch.cat([positive[:, None], score], 1), 1) - positive).sum()
    wanted = torch.autograd.grad(3 * expected, (hidden, item))
    loss = sampled_cross_entropy(hidden, item, target, negative, mask_hits=mask_hits, chunk_bytes=5 * 7 * 8 * 3)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, (hidden, item)), wanted)


def test_sampled_loss_in_other_types_and_without_gradients() -> None:
    hidden, item, target = example(20, 30, 8)
    negative = torch.randint(30, (20, 5), generator=torch.Generator().manual_seed(1))
    expected = sampled_cross_entropy(hidden, item, target, negative)
    with torch.no_grad():
        torch.testing.assert_close(sampled_cross_entropy(hidden, item, target, negative), expected.detach())
    with torch.autocast("cpu", torch.bfloat16):
        loss = sampled_cross_entropy(hidden.bfloat16(), item, target, negative)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    none = torch.zeros(0, dtype=torch.int64)
    assert sampled_cross_entropy(hidden[:0], item, none, negative[:0]).item() == 0
