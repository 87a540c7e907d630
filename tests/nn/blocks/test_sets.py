"""Blocks over sets: fusion of modalities, attention within bundles, and the losses over sets and views."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from recbench.core import Histories
from recbench.nn.blocks import (
    BundleAttention,
    ContentTower,
    ModalityFusion,
    info_nce,
    padded_sets,
    set_cross_entropy,
    unit_rows,
)

WIDTH = 8


def random_rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_unit_rows_keep_zero_rows_and_pass_no_gradient_through_them() -> None:
    x = random_rows(4, WIDTH)
    x[2] = 0.0
    x.requires_grad_()
    unit = unit_rows(x)
    torch.testing.assert_close(unit.norm(dim=-1), torch.tensor([1.0, 1.0, 0.0, 1.0]))
    (unit * random_rows(4, WIDTH, seed=1)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not x.grad[2].any()
    assert x.grad[0].any()


def test_a_tower_has_three_layers_and_starts_without_biases() -> None:
    tower = ContentTower(5, 12, WIDTH)
    assert sorted(parameter.numel() for parameter in tower.parameters()) == sorted([25, 5, 60, 12, 96, WIDTH])
    assert not any(parameter.any() for parameter in tower.parameters() if parameter.dim() == 1)
    assert not tower(torch.zeros(3, 5)).any()


def test_fusion_without_attention_is_the_mean_of_the_unit_vectors() -> None:
    fusion = ModalityFusion(WIDTH)
    torch.nn.init.zeros_(fusion.query.weight)
    modality = random_rows(6, 3, WIDTH)
    torch.testing.assert_close(fusion(modality), functional.normalize(modality, dim=-1).mean(1))


def test_fusion_by_hand() -> None:
    torch.manual_seed(0)
    fusion = ModalityFusion(WIDTH)
    modality = random_rows(1, 3, WIDTH)
    unit = functional.normalize(modality[0], dim=-1)
    weight = ((unit @ fusion.query.weight.T) @ (unit @ fusion.key.weight.T).T / math.sqrt(WIDTH)).softmax(-1)
    torch.testing.assert_close(fusion(modality), (weight @ unit).mean(0, keepdim=True))


def test_a_missing_modality_gives_numbers_and_a_gradient_to_the_others() -> None:
    torch.manual_seed(0)
    fusion = ModalityFusion(WIDTH)
    modality = random_rows(2, 3, WIDTH)
    modality[0, 1] = 0.0
    modality.requires_grad_()
    fusion(modality).square().sum().backward()
    assert modality.grad is not None
    assert modality.grad.isfinite().all()
    assert not modality.grad[0, 1].any()
    assert modality.grad[0, 0].any()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.permutations(range(5)), min_size=1, max_size=1), st.integers(0, 6), st.integers(1, 5), st.integers(1, 2))
def test_a_bundle_is_a_set_and_padding_is_invisible(orders: list[list[int]], n_padded: int, n_items: int, n_layers: int) -> None:
    torch.manual_seed(0)
    attention = BundleAttention(WIDTH, n_layers)
    item = random_rows(1, 5, WIDTH)[:, :n_items]
    alone = attention(item, torch.ones(1, n_items, dtype=torch.bool))
    shuffled = item[:, [place for place in orders[0] if place < n_items]]
    padded = torch.cat([shuffled, 10 * random_rows(1, n_padded, WIDTH, seed=1)], dim=1)
    is_real = torch.arange(n_items + n_padded)[None] < n_items
    torch.testing.assert_close(attention(padded, is_real), alone, atol=1e-6, rtol=0.0)


def test_a_bundle_of_one_is_its_normalised_item_and_one_of_none_is_zero() -> None:
    attention = BundleAttention(WIDTH)
    item = random_rows(2, 3, WIDTH)
    is_real = torch.tensor([[True, False, False], [False, False, False]])
    out = attention(item, is_real)
    assert torch.equal(out[0], functional.layer_norm(item[0, 0], (WIDTH,), eps=1e-9))
    assert torch.equal(out[1], torch.zeros(WIDTH))


def test_the_attention_within_bundles_is_saved_and_learns() -> None:
    attention = BundleAttention(WIDTH)
    assert list(attention.state_dict()) == ["queries.0.weight", "keys.0.weight"]
    (attention(random_rows(2, 3, WIDTH), torch.ones(2, 3, dtype=torch.bool)) * random_rows(2, WIDTH, seed=1)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in attention.parameters())


def test_padded_sets() -> None:
    item, is_real = padded_sets(Histories.from_lists([[4, 7], [], [3]]), "cpu")
    assert item.tolist() == [[4, 7], [0, 0], [3, 0]]
    assert item.dtype == torch.int64
    assert is_real.tolist() == [[True, True], [False, False], [True, False]]


@pytest.mark.parametrize("temperature", [0.5, 0.05, 1.0])
def test_info_nce_of_equal_orthogonal_views(temperature: float) -> None:
    rows = 3.0 * torch.eye(8)
    expected = -math.log(math.exp(1 / temperature) / (math.exp(1 / temperature) + 7))
    assert info_nce(rows, rows, temperature).item() == pytest.approx(expected, abs=1e-6)
    if temperature == 0.5:
        assert expected == pytest.approx(0.666468, abs=1e-6)


def test_info_nce_falls_where_views_agree() -> None:
    first, other = random_rows(6, WIDTH), random_rows(6, WIDTH, seed=1)
    losses = [info_nce(first, share * first + (1 - share) * other, 0.2).item() for share in (0.0, 0.3, 0.6, 1.0)]
    assert losses == sorted(losses, reverse=True)


def test_set_cross_entropy_is_the_mean_of_cross_entropies() -> None:
    logit = random_rows(2, 5)
    bundle, item = torch.tensor([0, 1, 1, 1]), torch.tensor([3, 0, 2, 4])
    one = functional.cross_entropy(logit[:1], torch.tensor([3]))
    three = torch.stack([functional.cross_entropy(logit[1:], torch.tensor([target])) for target in (0, 2, 4)]).mean()
    torch.testing.assert_close(set_cross_entropy(logit, bundle, item), (one + three) / 2)
    assert set_cross_entropy(torch.zeros(2, 5), bundle, item).item() == pytest.approx(math.log(5))


def test_set_cross_entropy_leaves_out_what_takes_no_part() -> None:
    logit = random_rows(1, 5).requires_grad_()
    without = logit.masked_fill(torch.tensor([False, True, False, False, False]), -math.inf)
    loss = set_cross_entropy(without, torch.tensor([0]), torch.tensor([3]))
    torch.testing.assert_close(loss, functional.cross_entropy(logit[:, [0, 2, 3, 4]], torch.tensor([2])))
    loss.backward()
    assert logit.grad is not None
    assert logit.grad.isfinite().all()
    assert logit.grad[0, 1] == 0
