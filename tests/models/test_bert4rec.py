"""BERT4Rec: which items are hidden, what a slot may see, and that it learns."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from recbench.core import BadConfig, Catalogue, Interactions
from recbench.core.config import by_dotted_name, nested
from recbench.nn.training import Stretches
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.bert4rec import PLUGIN
from recbench_models.bert4rec.config import BERT4RecConfig, NetworkSettings
from recbench_models.bert4rec.data import MaskedBatch, hidden_slots
from recbench_models.bert4rec.network import MaskedItemEncoder, MaskedItemTraining
from recbench_models.bert4rec.recommender import BERT4Rec

N_ITEMS = 40


def network(**settings: Any) -> MaskedItemEncoder:
    """A network whose weights are large enough for their effects to be seen."""
    torch.manual_seed(0)
    net = MaskedItemEncoder(NetworkSettings(width=16, hidden=32, max_length=8, **settings), N_ITEMS)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
        net.encoder.item_embedding.weight[N_ITEMS].zero_()
    return net.eval()


def hidden(item_BT: torch.Tensor, *slots: int) -> torch.Tensor:
    is_hidden_BT = torch.zeros_like(item_BT, dtype=torch.bool)
    is_hidden_BT[:, list(slots)] = True
    return is_hidden_BT


# hidden items


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.floats(0, 1), st.booleans())
def test_hidden_slots_are_real_and_each_row_has_one(lengths: list[int], rate: float, hides_newest: bool) -> None:
    length_B = torch.tensor(lengths)
    is_hidden_BT = hidden_slots(length_B, max(lengths), rate, hides_newest=hides_newest)
    assert not (is_hidden_BT & (torch.arange(max(lengths)) >= length_B[:, None])).any()
    assert is_hidden_BT.any(1).all()
    if hides_newest or rate == 0:
        assert is_hidden_BT.nonzero()[:, 1].tolist() == [length - 1 for length in lengths]
    elif rate == 1:
        assert is_hidden_BT.sum(1).tolist() == lengths


def test_each_item_is_hidden_at_the_rate() -> None:
    torch.manual_seed(0)
    share_T = hidden_slots(torch.full((20_000,), 30), 30, 0.2, hides_newest=False).float().mean(0)
    np.testing.assert_allclose(share_T, 0.2, atol=0.02)


def test_the_newest_item_alone_is_trained_where_nothing_else_is_asked_for() -> None:
    train = interactions([[1, 2, 3], [4], [5, 6, 7, 8]], N_ITEMS)
    examples = Stretches.tiles(train, 8)
    net = network()
    module = MaskedItemTraining(net, examples, 0.0)
    rows = np.arange(3)
    loss, n_targets = module(MaskedBatch(rows, hides_newest=True))
    assert n_targets == 3
    state_BD = net.last_states(torch.tensor([[1, 2, 40], [40, 40, 40], [5, 6, 7]]), torch.tensor([2, 0, 3]))
    expected = functional.cross_entropy(state_BD @ net.item_ID.T, torch.tensor([3, 4, 8]), reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    model = BERT4Rec(BERT4RecConfig(mask_rate=0.0, ft_ratio=1.0, batch_size=2), Catalogue(N_ITEMS, 3))
    assert all(batch.hides_newest for batch in model._batches(examples, np.random.default_rng(0)))


def test_batches_hold_every_example_once_and_share_out_the_two_ways_of_hiding() -> None:
    examples = Stretches.tiles(interactions([[1, 2]] * 1_000, N_ITEMS), 8)
    for order in ("random", "bucketed"):
        config = BERT4RecConfig(batch_size=3, batch_order=order, ft_ratio=0.25)
        batches = BERT4Rec(config, Catalogue(N_ITEMS, 3))._batches(examples, np.random.default_rng(0))
        assert sorted(np.concatenate([batch.rows for batch in batches]).tolist()) == list(range(1_000))
        assert max(map(len, batches)) == 3
        assert np.mean([batch.hides_newest for batch in batches]) == pytest.approx(0.25, abs=0.08)
        parts = [batches[0].shard(rank, 2) for rank in range(2)]
        assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == sorted(batches[0].rows.tolist())
        assert {part.hides_newest for part in parts} == {batches[0].hides_newest}


# what a slot sees


def test_a_hidden_item_is_not_seen() -> None:
    net = network()
    item_BT = torch.tensor([[3, 5, 7, 9], [3, 6, 7, 9]])
    state_SD = net(item_BT, torch.tensor([4, 4]), hidden(item_BT, 1))
    torch.testing.assert_close(state_SD[0], state_SD[1], atol=0, rtol=0)
    others = net(item_BT, torch.tensor([4, 4]), hidden(item_BT, 2))
    assert (others[0] - others[1]).abs().max() > 1e-3


def test_slots_see_what_comes_later() -> None:
    net = network()
    item_BT = torch.tensor([[3, 5, 7, 9]])
    net(item_BT, torch.tensor([4]), hidden(item_BT, 0))[:, :-1].pow(2).sum().backward()
    gradient = net.encoder.item_embedding.weight.grad
    assert gradient is not None
    assert (gradient[[5, 7, 9]].abs().amax(1) > 1e-6).all()
    assert gradient[3].abs().max() == 0


def test_ranking_reads_what_a_hidden_newest_item_reads() -> None:
    net = network()
    item_BT = torch.tensor([[3, 5, 7, 9], [4, 2, 40, 40]])
    window_BT = torch.tensor([[3, 5, 7, 9, 11], [4, 2, 12, 40, 40]])
    is_newest_BT = torch.tensor([[False, False, False, False, True], [False, False, True, False, False]])
    ranked = net.last_states(item_BT, torch.tensor([4, 2]))
    torch.testing.assert_close(ranked, net(window_BT, torch.tensor([5, 3]), is_newest_BT), atol=0, rtol=0)


def test_padding_and_company_change_nothing() -> None:
    net = network()
    alone = net.last_states(torch.tensor([[3, 5]]), torch.tensor([2]))
    wide = net.last_states(torch.tensor([[3, 5, 40, 40, 40], [1, 2, 3, 4, 5]]), torch.tensor([2, 5]))
    torch.testing.assert_close(wide[:1], alone, atol=1e-5, rtol=0)


def test_scores_are_inner_products_plus_biases() -> None:
    net = network()
    assert net.item_ID.shape == (N_ITEMS, 17)
    item_BT = torch.tensor([[3, 5, 7, 9]])
    is_hidden_BT = hidden(item_BT, 3)
    state_D = net.encoder(torch.tensor([[3, 5, 7, N_ITEMS + 1]]), torch.tensor([4]))[0, 3]
    head_D = net.norm(functional.gelu(net.dense(state_D)))
    expected_N = net.encoder.item_embedding.weight[:N_ITEMS] @ head_D + net.item_bias
    torch.testing.assert_close((net(item_BT, torch.tensor([4]), is_hidden_BT) @ net.item_ID.T)[0], expected_N)


def test_number_of_weights() -> None:
    n, d, length, blocks = 12_101, 64, 50, 2
    net = MaskedItemEncoder(NetworkSettings(), n)
    encoder = (n + 2) * d + length * d + 2 * d + blocks * (12 * d * d + 13 * d)
    assert sum(weight.numel() for weight in net.parameters()) == encoder + d * d + d + 2 * d + n


# the plugin


def fitted(train: Interactions, folder: Path, **overrides: Any) -> BERT4Rec:
    values = {"network": {"width": 32, "hidden": 64, "dropout": 0.0, "max_length": 12}, "batch_size": 16}
    values |= {"training": {"learning_rate": 5e-3, "validate_every_epochs": 1000, "max_epochs": 2}}
    values = by_dotted_name(values, BERT4RecConfig) | by_dotted_name(overrides, BERT4RecConfig)
    model = BERT4Rec(BERT4RecConfig.model_validate(nested(values)), Catalogue(train.n_items, len(train)))
    report = model.fit(LightContext(train, folder, judge=latest_is_best()))
    assert report.examples_seen > 0
    return model


@pytest.mark.uncounted
def test_overfits_a_cycle(tmp_path: Path) -> None:
    began = time.process_time()
    starts = np.arange(64) * 7
    train = interactions([[(s + t) % 50 for t in range(10)] for s in starts.tolist()], 50)
    # One batch holds all users; 150 steps.
    model = fitted(train, tmp_path, batch_size=64, training={"max_epochs": 150, "learning_rate": 1e-2})
    ranked = model.generate(queries([train[user].tolist() for user in range(64)]), 1)
    assert (ranked.view("unseen")[:, 0] == (starts + 10) % 50).mean() > 0.95
    assert time.process_time() - began < 20


@pytest.mark.parametrize("examples", ["tiles", "prefixes"])
def test_lists_hold_items_and_nothing_else(examples: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    train = interactions([rng.integers(0, N_ITEMS, rng.integers(0, 20)).tolist() for _ in range(20)], N_ITEMS)
    model = fitted(train, tmp_path, examples=examples)
    lists = model.generate(queries([[], [1, 2], list(range(30))]), N_ITEMS).view("keep")
    assert (np.sort(lists, 1) == np.arange(N_ITEMS)).all()
    assert model.item_vectors().shape == (N_ITEMS, 32)


def test_a_history_leaves_one_slot_for_the_hidden_item_and_may_be_empty() -> None:
    model = BERT4Rec(BERT4RecConfig(), Catalogue(N_ITEMS, 3))
    model.encoder = network()
    long = list(range(30))
    state_BD = model.encode(queries([[], long, long[-7:], long[-6:]]))
    nothing = torch.zeros(1, 0, dtype=torch.long)
    torch.testing.assert_close(state_BD[:1], model.encoder.last_states(nothing, torch.tensor([0])))
    torch.testing.assert_close(state_BD[1], state_BD[2], atol=1e-5, rtol=0)
    assert (state_BD[1] - state_BD[3]).abs().max() > 1e-3


@pytest.mark.parametrize("preset", ["paper", "cpu", "smoke"])
def test_presets_resolve(preset: str) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, BERT4RecConfig)
    assert PLUGIN.row_name(preset, config) == f"bert4rec:{preset}" + (" (examples=prefixes)" if preset == "paper" else "")


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(BadConfig, match="width=64 is not a multiple of n_heads=3"):
        PLUGIN.resolve("paper", overrides={"network.n_heads": 3})
