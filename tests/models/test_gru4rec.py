"""GRU4Rec: one step by hand, what a state may depend on, and that it learns."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch, assert_padding_changes_no_state, random_train

from recbench.core import Catalogue, Interactions
from recbench.nn.training import NextItemLossSettings, NextItemTraining, Windows, count_parameters
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.gru4rec import PLUGIN
from recbench_models.gru4rec.config import GRU4RecConfig, NetworkSettings
from recbench_models.gru4rec.network import GRUEncoder
from recbench_models.gru4rec.recommender import GRU4Rec

N_ITEMS = 12


def encoder_of(**sizes: int) -> GRUEncoder:
    torch.manual_seed(0)
    network = GRUEncoder(NetworkSettings(**{"width": 8, "hidden": 6, **sizes}), N_ITEMS)
    network.eval()
    return network


def fitted(train: Interactions, folder: Path, *, epochs: int = 2, rate: float = 5e-3, **network: float) -> GRU4Rec:
    values = {
        "network": {"width": 32, "hidden": 32, "dropout": 0.0, "max_length": 12, **network},
        "training": {"learning_rate": rate, "max_epochs": epochs, "validate_every_epochs": 1000},
        "batch_targets": 1000,
    }
    model = GRU4Rec(GRU4RecConfig.model_validate(values), Catalogue(train.n_items, len(train)))
    model.fit(LightContext(train, folder, judge=latest_is_best()))
    return model


# the network


def test_two_steps_of_width_one_by_hand() -> None:
    network = encoder_of(width=1, hidden=1)
    with torch.no_grad():
        network.item_embedding.weight[:2] = torch.tensor([[0.5], [-1.2]])
        network.gru.weight_ih_l0.copy_(torch.tensor([[0.3], [-0.7], [1.1]]))
        network.gru.weight_hh_l0.copy_(torch.tensor([[0.9], [0.4], [-0.6]]))
        network.projection.weight.fill_(2.0)
        network.projection.bias.fill_(0.25)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    h, expected = 0.0, []
    for x in (0.5, -1.2):
        reset, update = sigmoid(0.3 * x + 0.9 * h), sigmoid(-0.7 * x + 0.4 * h)
        h = (1 - update) * math.tanh(1.1 * x + reset * -0.6 * h) + update * h
        expected.append(2.0 * h + 0.25)
    state = network(torch.tensor([[0, 1]]), torch.tensor([2]))
    assert state.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_state_ignores_what_follows_its_slot(n_layers: int) -> None:
    network = encoder_of(n_layers=n_layers)
    item = torch.randint(0, N_ITEMS, (4, 7))
    changed = item.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % N_ITEMS
    length = torch.full((4,), 7)
    before, after = network(item, length), network(changed, length)
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=0, rtol=0)
    assert (before[:, 4:] - after[:, 4:]).abs().min() > 0


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_padding_on_the_right_changes_no_state(lengths: list[int], seed: int) -> None:
    assert_padding_changes_no_state(encoder_of(), lengths, 12, seed)


def test_number_of_weights_and_how_they_start() -> None:
    network = GRUEncoder(PLUGIN.resolve("paper").network, 1000)  # type: ignore[attr-defined]
    assert count_parameters(network).total == 64 * 1001 + 81_984
    assert not network.item_embedding.weight[1000].any()
    assert network.item_embedding.weight.std().item() == pytest.approx(math.sqrt(2 / 1065), rel=0.05)
    assert network.gru.weight_ih_l0.abs().max().item() == pytest.approx(math.sqrt(6 / (384 + 64)), rel=0.01)
    assert network.gru.weight_hh_l0.abs().max().item() == pytest.approx(math.sqrt(6 / (384 + 128)), rel=0.01)


def test_the_padding_row_stays_zero_and_dropout_works_in_training_alone() -> None:
    network = encoder_of(dropout=0.5)  # type: ignore[arg-type]
    item, length = torch.tensor([[1, 2, N_ITEMS], [3, 4, 5]]), torch.tensor([2, 3])
    torch.testing.assert_close(network(item, length), network(item, length), atol=0, rtol=0)
    network.train()
    assert (network(item, length) - network(item, length)).abs().max() > 0
    train = interactions([[1, 2, 3], [4, 5]], N_ITEMS)
    module = NextItemTraining(network, NextItemLossSettings(loss="ce"), train, Windows.of(train, 5), mixes_lengths=False)
    module(np.arange(2))[0].backward()
    assert network.item_embedding.weight.grad is not None
    assert not network.item_embedding.weight.grad[N_ITEMS].any()


# learning


def test_learns_a_cycle_of_fifty_items(tmp_path: Path) -> None:
    starts = np.arange(64) * 7
    train = interactions([[(s + t) % 50 for t in range(10)] for s in starts.tolist()], 50)
    model = fitted(train, tmp_path, epochs=30, rate=1e-2)
    ranked = model.generate(queries([train[user].tolist() for user in range(64)]), 1)
    np.testing.assert_array_equal(ranked.view("keep")[:, 0], (starts + 10) % 50)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    train = random_train()
    first, second = (fitted(train, tmp_path / name, dropout=0.3) for name in ("a", "b"))
    for name, weight in first.encoder.state_dict().items():
        torch.testing.assert_close(weight, second.encoder.state_dict()[name], atol=0, rtol=0)


# the plugin


def test_lists_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    model, train = fitted(random_train(), tmp_path), random_train()
    asked = queries([train[user].tolist() for user in range(50)])
    assert_lists_do_not_depend_on_the_batch(model, asked)


def test_a_long_history_is_read_from_its_newest_end(tmp_path: Path) -> None:
    model = fitted(random_train(), tmp_path)
    long = list(range(30))
    state = model.encode(queries([long, long[-12:], long[-11:]]))
    torch.testing.assert_close(state[0], state[1], atol=1e-5, rtol=0)
    assert (state[0] - state[2]).abs().max() > 1e-4


@pytest.mark.parametrize(("preset", "batch", "rate"), [("paper", 2048, 1e-3), ("cpu", 1024, 3e-3), ("smoke", 1024, 3e-3)])
def test_presets_resolve(preset: str, batch: int, rate: float) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, GRU4RecConfig)
    assert (config.batch_targets, config.training.learning_rate, config.training.optimizer) == (batch, rate, "adam")
    assert PLUGIN.row_name(preset, config) == f"gru4rec:{preset}"
