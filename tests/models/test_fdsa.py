"""FDSA: attributes by hand, two streams, and that it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch, assert_padding_changes_no_state, random_train

from recbench.core import BadConfig, BadData, BadRequest, Catalogue, Interactions
from recbench.core.config import by_dotted_name, nested
from recbench.nn.text import ItemAttributes
from recbench.nn.training import count_parameters
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.fdsa import PLUGIN
from recbench_models.fdsa.config import FDSAConfig, NetworkSettings
from recbench_models.fdsa.network import AttributeMix, FDSAEncoder
from recbench_models.fdsa.recommender import FDSA

N_ITEMS = 12
ATTRIBUTES = ItemAttributes.of(
    {
        "categories": [["hair", "gel"], ["hair"], [], ["skin", "gel", "red"], *([["skin"]] * 8)],
        "brand": [["nivea"], [], [], ["opi"], *([[], ["opi"]] * 4)],
    }
)
COLUMNS = {
    "categories": ["all, " + "abc"[row % 3] for row in range(40)],
    "brand": [None if row % 2 else f"brand {row % 5}" for row in range(40)],
    "title": [f"thing {row}" if row % 4 else None for row in range(40)],
}


def encoder_of(attributes: ItemAttributes = ATTRIBUTES, *, n_layers: int = 2) -> FDSAEncoder:
    torch.manual_seed(0)
    network = FDSAEncoder(NetworkSettings(width=8, n_layers=n_layers, hidden=12, max_length=6), attributes)
    # Larger than they start, so that what must not matter would be seen.
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 2:
                parameter *= 20
    network.eval()
    return network


def fitted(train: Interactions, folder: Path, **overrides: Any) -> FDSA:
    values = {
        "network": {"width": 32, "n_layers": 1, "hidden": 64, "dropout": 0.0, "max_length": 12},
        "training": {"learning_rate": 5e-3, "max_epochs": 2, "validate_every_epochs": 1000},
        "batch_targets": 1000,
    }
    values = by_dotted_name(values, FDSAConfig) | by_dotted_name(overrides, FDSAConfig)
    model = FDSA(FDSAConfig.model_validate(nested(values)), Catalogue(train.n_items, len(train)))
    texts = {name: [column[row % 40] for row in range(train.n_items)] for name, column in COLUMNS.items()}
    model.fit(LightContext(train, folder, texts, judge=latest_is_best()))
    return model


# attributes to vectors


def test_a_field_is_the_mean_of_its_attributes_and_an_item_the_weighted_mean_of_its_fields() -> None:
    mix = encoder_of().mix
    vector = {value: mix.table.weight[number] for number, value in enumerate(ATTRIBUTES.values)}
    categories, brand = (vector["skin"] + vector["gel"] + vector["red"]) / 3, vector["opi"]
    hidden, _, last = mix.score
    say = [(last.weight[0] * torch.relu(hidden.weight @ a + hidden.bias)).sum() + last.bias[0] for a in (categories, brand)]
    share = torch.stack(say).softmax(0)
    item = torch.tensor([[3, 1, 2, N_ITEMS]])
    expected = torch.stack([share[0] * categories + share[1] * brand, vector["hair"], torch.zeros(8), torch.zeros(8)])
    torch.testing.assert_close(mix(item)[0], expected)


def test_shares_sum_to_one_and_fields_without_anything_have_none() -> None:
    mix = encoder_of().mix
    field, is_there = mix.fields(torch.arange(N_ITEMS + 1))
    share = mix.weights(field, is_there)
    torch.testing.assert_close(share.sum(1), torch.ones(N_ITEMS + 1))
    has_any = is_there.any(1)
    assert has_any.tolist() == [row not in (2, N_ITEMS) for row in range(N_ITEMS + 1)]
    assert not share[has_any][~is_there[has_any]].any()
    assert (share[1] == torch.tensor([1.0, 0.0])).all()


def test_a_text_is_one_more_field() -> None:
    torch.manual_seed(0)
    text = torch.randn(N_ITEMS, 3)
    text[1] = 0
    mix = AttributeMix(ATTRIBUTES, 8, text)
    field, is_there = mix.fields(torch.tensor([0, 1, 2, N_ITEMS]))
    assert is_there.tolist() == [[True, True, True], [True, False, False], [False, False, True], [False, False, False]]
    torch.testing.assert_close(field[:, 2], torch.cat([text[:3], torch.zeros(1, 3)]) @ mix.project_text.weight.T)
    torch.testing.assert_close(mix(torch.tensor([[2]]))[0, 0], mix.project_text.weight @ text[2])


def test_items_without_attributes_give_no_nan_in_training() -> None:
    mix = AttributeMix(ATTRIBUTES, 8)
    mix(torch.tensor([[2, 3, N_ITEMS]])).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in mix.parameters() if p.grad is not None)


# two streams


def test_with_the_second_half_cut_off_the_state_is_that_of_the_item_stream() -> None:
    network = encoder_of()
    with torch.no_grad():
        network.join.weight.copy_(torch.cat([torch.eye(8), torch.zeros(8, 8)], 1))
        network.join.bias.zero_()
    item, length = torch.randint(0, N_ITEMS, (3, 6)), torch.tensor([6, 6, 6])
    expected = network.items.embedding_norm(network.items(item, length))
    torch.testing.assert_close(network(item, length), expected)


def test_equal_attributes_leave_positions_alone() -> None:
    network = encoder_of(ItemAttributes.of({"brand": [["opi"]] * N_ITEMS}))
    one, other = torch.randint(0, N_ITEMS, (2, 1, 5))
    length = torch.tensor([5])
    state = network.attribute_states(one, length)
    assert (one != other).any()
    torch.testing.assert_close(state, network.attribute_states(other, length))
    assert (state[0, 0] - state[0, 4]).abs().max() > 1e-3
    assert (network(one, length) - network(other, length)).abs().max() > 1e-3


@pytest.mark.parametrize("n_layers", [0, 2])
def test_number_of_weights(n_layers: int) -> None:
    network, d = encoder_of(n_layers=n_layers), 8
    tables = (N_ITEMS + 1 + 6 + len(ATTRIBUTES.values) + 1) * d
    blocks = 2 * n_layers * (2 * d * 12 + 12 + d + 4 * d * d + 4 * d + 4 * d)
    assert count_parameters(network).total == tables + blocks + (d * d + 2 * d + 1) + (2 * d * d + d) + 2 * d
    # With an inner width of four widths that is 12 d^2 + 13 d a block.
    paper = FDSAEncoder(PLUGIN.resolve("paper").network, ATTRIBUTES)  # type: ignore[attr-defined]
    tables = (N_ITEMS + 1 + 50 + len(ATTRIBUTES.values) + 1) * 64
    other = 2 * 2 * (12 * 64**2 + 13 * 64) + (64**2 + 2 * 64 + 1) + (2 * 64**2 + 64) + 2 * 64
    assert count_parameters(paper).total == tables + other


def test_how_weights_start() -> None:
    network = FDSAEncoder(NetworkSettings(), ATTRIBUTES)
    for name, weight in network.named_parameters():
        if weight.dim() == 2 and weight.numel() > 1000:
            assert weight.std().item() == pytest.approx(0.02, rel=0.1), name
        elif name.endswith("bias"):
            assert not weight.any(), name
    assert not network.items.item_embedding.weight[N_ITEMS].any()
    assert not network.mix.table.weight[len(ATTRIBUTES.values)].any()


def test_half_of_a_joined_state_is_dropped_in_training() -> None:
    network = encoder_of()
    item, length = torch.randint(0, N_ITEMS, (8, 6)), torch.full((8,), 6)
    assert (network(item, length) != 0).all()
    share = (network.train()(item, length) == 0).float().mean().item()
    assert 0.35 < share < 0.65


def test_a_state_ignores_what_follows_its_slot() -> None:
    network = encoder_of()
    item, length = torch.randint(0, N_ITEMS, (4, 6)), torch.full((4,), 6)
    changed = item.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % N_ITEMS
    before, after = network(item, length), network(changed, length)
    torch.testing.assert_close(before[:, :3], after[:, :3], atol=1e-5, rtol=0)
    assert (before[:, 3:] - after[:, 3:]).abs().amax(2).min() > 1e-3


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_padding_changes_no_state(lengths: list[int], seed: int) -> None:
    assert_padding_changes_no_state(encoder_of(), lengths, 6, seed)


# learning


def test_learns_a_cycle(tmp_path: Path) -> None:
    starts = np.arange(64) * 7
    train = interactions([[(s + t) % 50 for t in range(10)] for s in starts.tolist()], 50)
    model = fitted(train, tmp_path, training={"max_epochs": 30, "learning_rate": 1e-2})
    ranked = model.generate(queries([train[user].tolist() for user in range(64)]), 1)
    assert (ranked.view("keep")[:, 0] == (starts + 10) % 50).mean() > 0.95


def test_same_seed_same_weights(tmp_path: Path) -> None:
    first, second = (fitted(random_train(), tmp_path / name, network={"dropout": 0.3}) for name in ("a", "b"))
    for name, weight in first.encoder.state_dict().items():
        torch.testing.assert_close(weight, second.encoder.state_dict()[name], atol=0, rtol=0)


# the plugin


def test_lists_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    train = random_train()
    model = fitted(train, tmp_path)
    asked = queries([train[user].tolist()[1:] for user in range(50)])
    assert_lists_do_not_depend_on_the_batch(model, asked)


@pytest.mark.parametrize("text", [{}, {"text_encoder": "tfidf-svd", "text_fields": ["title", "description"]}])
def test_saved_and_loaded_gives_the_same_lists(text: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(random_train(), tmp_path / "fit", **text)
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    files = ["attributes.parquet", "model.safetensors", *(["text.npy"] if text else [])]
    assert sorted(path.name for path in folder.iterdir()) == files
    other = FDSA(model.config, Catalogue(40, 50))
    asked = queries([[1, 2], [], list(range(30))])
    before = other.generate(asked, 10)
    other.load(folder)
    ranked = other.generate(asked, 10)
    np.testing.assert_array_equal(ranked.scores, model.generate(asked, 10).scores)
    assert (ranked.scores[:, 0] != before.scores[:, 0]).any()
    model.to("meta")
    encoder = model.encoder
    assert {part.device.type for part in (*encoder.parameters(), *encoder.buffers())} == {"meta"}
    for name in files:
        (folder / name).rename(folder / "aside")
        with pytest.raises(BadData, match=f"{name} holds no "):
            FDSA(model.config, Catalogue(40, 50)).load(folder)
        (folder / "aside").rename(folder / name)
    if text:
        np.save(folder / "text.npy", np.zeros((39, 3), np.float32))
        with pytest.raises(BadData, match=r"text\.npy holds float32 of shape \(39, 3\), for 40 items"):
            FDSA(model.config, Catalogue(40, 50)).load(folder)


def test_a_data_set_without_attributes_is_refused(tmp_path: Path) -> None:
    train = random_train()
    model = FDSA(FDSAConfig(), Catalogue(40, 50))
    with pytest.raises(BadRequest, match=r"no item of this data set has a value in any of them\. .*--set attributes\.fields"):
        model.fit(LightContext(train, tmp_path, {"title": ["a"] * 40}))


@pytest.mark.parametrize(
    ("preset", "row"),
    [
        ("paper", "fdsa:paper"),
        ("text", "fdsa:text (minilm)"),
        ("cpu", "fdsa:cpu"),
        ("smoke", "fdsa:smoke"),
    ],
)
def test_presets_resolve(preset: str, row: str) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, FDSAConfig)
    assert PLUGIN.row_name(preset, config) == row


def test_other_attributes_are_part_of_the_row_name() -> None:
    config = PLUGIN.resolve("cpu", overrides={"attributes.fields": ["brand", "title"]})
    assert PLUGIN.row_name("cpu", config) == "fdsa:cpu (fields=brand+title)"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"network.n_heads": 3}, "width=64 is not a multiple of n_heads=3"),
        ({"attributes.fields": ["brand", "brand"]}, r"attributes\.fields=.*'brand' stands there more than once"),
        ({"attributes.lists": ["categorie"]}, "lists names 'categorie', which is none of the fields categories, brand"),
        ({"text_encoder": "minilm"}, r"text_encoder=minilm and text_fields=\[\]: the field of text needs both, or neither"),
        ({"text_fields": ["title"]}, r"text_encoder=None and text_fields=\['title'\]"),
        ({"text_encoder": "nonsense", "text_fields": ["title"]}, "the encoder is none of minilm, tfidf-svd"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message) as caught:
        PLUGIN.resolve("paper", overrides=overrides)
    assert "validation error" not in str(caught.value)
