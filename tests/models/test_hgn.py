"""HGN: gates by hand, users known and unknown, and that it learns."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch, random_train

from recbench.core import BadRequest, Catalogue, Interactions
from recbench.nn.training import Windows
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.hgn import PLUGIN
from recbench_models.hgn.config import HGNConfig, NetworkSettings
from recbench_models.hgn.network import HGNEncoder, HGNTraining
from recbench_models.hgn.recommender import HGN

N_ITEMS, N_USERS = 12, 3


def encoder_of(*, width: int = 6, max_length: int = 5) -> HGNEncoder:
    torch.manual_seed(0)
    network = HGNEncoder(NetworkSettings(width=width, max_length=max_length), N_ITEMS, N_USERS)
    with torch.no_grad():
        network.output_bias.normal_()
    return network


def fitted(train: Interactions, folder: Path, *, epochs: int = 2, loss: str = "ce", width: int = 16) -> HGN:
    values = {
        "network": {"width": width, "max_length": 5},
        "training": {"learning_rate": 2e-2, "max_epochs": epochs, "validate_every_epochs": 1000},
        "loss": loss,
        "batch_size": 200,
    }
    model = HGN(HGNConfig.model_validate(values), Catalogue(train.n_items, len(train)))
    model.fit(LightContext(train, folder, judge=latest_is_best()))
    return model


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# the network


def test_open_gates_give_the_user_and_mean_and_sum_of_the_items() -> None:
    network = encoder_of()
    with torch.no_grad():
        for weight in (network.feature_of_item.weight, network.feature_of_user.weight, network.instance_of_item.weight):
            weight.zero_()
        network.feature_of_item.bias.fill_(40.0)
        network.user.weight[1] = 1.0
        network.instance_of_user.weight.fill_(40 / 6)
    item, user = torch.tensor([[3, 7, 5]]), network.users(torch.tensor([1]))
    state = network(item, torch.tensor([3]), user)
    e = network.input.weight[item[0]]
    torch.testing.assert_close(state[0, :-1], user[0] + e.mean(0) + e.sum(0))
    assert state[0, -1] == 1


def test_a_history_of_one_item_by_hand() -> None:
    network = encoder_of(width=2, max_length=2)
    u, e, w1, w2, b = (0.5, -1.0), (0.8, 0.3), ((0.2, -0.4), (0.6, 0.1)), ((0.3, 0.7), (-0.5, 0.9)), (0.05, -0.15)
    with torch.no_grad():
        network.user.weight[2] = torch.tensor(u)
        network.input.weight[4] = torch.tensor(e)
        network.feature_of_item.weight.copy_(torch.tensor(w1))
        network.feature_of_item.bias.copy_(torch.tensor(b))
        network.feature_of_user.weight.copy_(torch.tensor(w2))
        network.output.weight[9] = torch.tensor([1.5, -2.0])
        network.output_bias[9] = 0.7
    gate = [sigmoid(w1[d][0] * e[0] + w1[d][1] * e[1] + w2[d][0] * u[0] + w2[d][1] * u[1] + b[d]) for d in (0, 1)]
    # One item: whatever the instance gate says, its share of the mean is 1.
    state = [u[d] + e[d] * gate[d] + e[d] for d in (0, 1)]
    score = network(torch.tensor([[4]]), torch.tensor([1]), network.users(torch.tensor([2]))) @ network.item_ID.T
    assert score[0, 9].item() == pytest.approx(1.5 * state[0] - 2.0 * state[1] + 0.7, abs=1e-6)


def test_the_instance_gate_weighs_items_by_their_slot_from_the_newest_end() -> None:
    network = encoder_of(width=2, max_length=3)
    slot_logit, item_logit = torch.tensor([5.0, 1.0, -1.0]), torch.tensor([0.4, 2.0])
    with torch.no_grad():
        network.feature_of_item.weight.zero_()
        network.feature_of_user.weight.zero_()
        network.feature_of_item.bias.fill_(40.0)
        network.user.weight[0] = torch.tensor([1.0, 0.0])
        network.instance_of_user.weight[:, 0] = slot_logit
        network.instance_of_item.weight.copy_(item_logit[None])
    first, second = network.input.weight[3], network.input.weight[8]
    state = network(torch.tensor([[3, 8, N_ITEMS]]), torch.tensor([2]), network.users(torch.tensor([0])))
    # Two items stand in the last two of three slots.
    a, b = (torch.sigmoid(item_logit @ e + slot_logit[slot]) for e, slot in ((first, 1), (second, 2)))
    expected = torch.tensor([1.0, 0.0]) + (a * first + b * second) / (a + b) + first + second
    torch.testing.assert_close(state[0, :-1], expected)


def test_closed_gates_give_numbers() -> None:
    network = encoder_of(width=2)
    with torch.no_grad():
        network.user.weight[0] = torch.tensor([1.0, 0.0])
        network.instance_of_user.weight.fill_(-1000.0)
        network.instance_of_item.weight.zero_()
    state = network(torch.tensor([[3, 8]]), torch.tensor([2]), network.users(torch.tensor([0])))
    assert torch.isfinite(state).all()


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_padding_changes_no_state(lengths: list[int], seed: int) -> None:
    network = encoder_of()
    rng = np.random.default_rng(seed)
    item = torch.full((len(lengths), 5), N_ITEMS)
    for row, length in enumerate(lengths):
        item[row, :length] = torch.from_numpy(rng.integers(0, N_ITEMS, length))
    user = network.users(torch.from_numpy(rng.integers(-1, N_USERS, len(lengths))))
    together = network(item, torch.tensor(lengths), user)
    for row, length in enumerate(lengths):
        alone = network(item[row : row + 1, :length], torch.tensor([length]), user[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_somebody_unknown_has_the_mean_of_all_users() -> None:
    network = encoder_of()
    user = network.users(torch.tensor([-1, 2]))
    torch.testing.assert_close(user, torch.stack([network.user.weight.mean(0), network.user.weight[2]]))
    item, length = torch.tensor([[1, 2]]), torch.tensor([2])
    torch.testing.assert_close(network.last_states(item, length), network(item, length, user[:1]))


def test_how_weights_start() -> None:
    torch.manual_seed(0)
    network = HGNEncoder(NetworkSettings(), 1000, 800)
    for table in (network.user.weight, network.input.weight[:1000], network.output.weight):
        assert table.std().item() == pytest.approx(1 / 50, rel=0.05)
    assert not network.input.weight[1000].any()
    assert not network.output_bias.any()
    assert not network.feature_of_item.bias.any()
    gates = ((network.feature_of_item, 100), (network.feature_of_user, 100), (network.instance_of_item, 51), (network.instance_of_user, 55))
    for gate, fans in gates:
        bound = math.sqrt(6 / fans)
        assert 0.9 * bound < gate.weight.abs().max().item() <= bound


# training


@pytest.mark.parametrize("loss", ["ce", "bpr"])
def test_every_part_of_the_network_is_trained(loss: str) -> None:
    config = HGNConfig(network=NetworkSettings(width=6), loss=loss)  # type: ignore[arg-type]
    train = interactions([[0, 1, 2, 3], [4, 5], [6]], N_ITEMS)
    prefixes = Windows.prefixes(train, 5)
    network = encoder_of()
    total, n_targets = HGNTraining(network, config, train, prefixes)(np.arange(len(prefixes)))
    assert n_targets == 4
    total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert not network.input.weight.grad[N_ITEMS].any()  # type: ignore[index]


def test_losses_by_hand() -> None:
    train = interactions([[0, 1], [4, 0, 2]], N_ITEMS)
    prefixes = Windows.prefixes(train, 5)
    network = encoder_of()
    user = network.users(torch.from_numpy(prefixes.user))
    item, _ = prefixes.padded(np.arange(3), N_ITEMS)
    score = network(torch.from_numpy(item), torch.from_numpy(prefixes.length), user) @ network.item_ID.T
    target = torch.tensor([1, 0, 2])
    total, _ = HGNTraining(network, HGNConfig(loss="ce"), train, prefixes)(np.arange(3))
    assert total.item() == pytest.approx(torch.nn.functional.cross_entropy(score, target, reduction="sum").item(), rel=1e-5)
    # So many negatives that their mean is that of all items which the user does not have.
    torch.manual_seed(0)
    total, _ = HGNTraining(network, HGNConfig(loss="bpr", n_negatives=20_000), train, prefixes)(np.arange(3))
    margin = score[torch.arange(3), target][:, None] - score
    expected = 0.0
    for row, user_row in enumerate(prefixes.user):
        lacking = [item for item in range(N_ITEMS) if item not in train[user_row]]
        expected -= torch.nn.functional.logsigmoid(margin[row, lacking]).mean().item()
    assert total.item() / 20_000 == pytest.approx(expected, rel=0.01)


def test_a_user_with_every_item_has_no_negatives(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="User row 0 has all 2 items in the train part"):
        fitted(interactions([[0, 1]], 2), tmp_path, loss="bpr")


@pytest.mark.parametrize("loss", ["ce", "bpr"])
def test_learns_a_cycle(loss: str, tmp_path: Path) -> None:
    starts = np.arange(64) * 7
    train = interactions([[(s + t) % 50 for t in range(10)] for s in starts.tolist()], 50)
    model = fitted(train, tmp_path, epochs=40, loss=loss, width=32)
    ranked = model.generate(queries([train[user].tolist() for user in range(64)]), 1)
    hits = ranked.view("unseen")[:, 0] == (starts + 10) % 50
    assert hits.mean() > 0.9


# the plugin


def test_lists_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    train = random_train(longest=11)
    model = fitted(train, tmp_path)
    asked = queries([train[user].tolist()[1:] for user in range(50)])
    assert_lists_do_not_depend_on_the_batch(model, asked)


def test_users_differ_and_an_empty_history_is_ranked_by_its_user(tmp_path: Path) -> None:
    model = fitted(random_train(longest=11), tmp_path)
    network = model.encoder
    state = model.encode(queries([[], [], [3, 4], [3, 4]]))
    torch.testing.assert_close(state[:2, :-1], network.user.weight[:2].detach())
    assert (state[:, -1] == 1).all()
    assert (state[2] - state[3]).abs().max() > 0
    stranger = model.encode(queries([[]], known=False))
    torch.testing.assert_close(stranger[0, :-1], network.user.weight.mean(0).detach())


def test_saved_and_loaded_gives_the_same_lists(tmp_path: Path) -> None:
    model = fitted(random_train(longest=11), tmp_path)
    model.save(tmp_path)
    other = HGN(model.config, Catalogue(40, 50))
    other.load(tmp_path)
    asked = queries([[1, 2], [], [5]])
    np.testing.assert_array_equal(other.generate(asked, 10).scores, model.generate(asked, 10).scores)
    assert other.item_vectors().shape == (40, 16)


@pytest.mark.parametrize(("preset", "loss"), [("paper", "ce"), ("bpr", "bpr"), ("cpu", "ce"), ("smoke", "ce")])
def test_presets_resolve(preset: str, loss: str) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, HGNConfig)
    assert config.network.max_length == 5
    assert PLUGIN.row_name(preset, config) == f"hgn:{preset} ({loss})"


def test_a_search_tries_decay_on_the_tables() -> None:
    drawn = [PLUGIN.trial(number, 0, "paper")[1].training for number in range(12)]  # type: ignore[attr-defined]
    assert drawn[0] == PLUGIN.resolve("paper").training  # type: ignore[attr-defined]
    assert any(training.weight_decay > 0 and training.decay_on == "all" for training in drawn)
