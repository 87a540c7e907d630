from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from recbench import registry
from recbench.core.config import PluginConfig, parse_assignment
from recbench.core.errors import BadConfig
from recbench.data.card import load_dataset_card


@pytest.mark.parametrize(
    ("key", "value", "taken"),
    [
        ("training.max_steps", True, "1"),
        ("training.max_steps", "100", "100"),
        ("network.n_heads", 2.0, None),
        ("training.learning_rate", 1, None),
        ("training.betas", [0.9, "0.98"], "[0.9, 0.98]"),
    ],
)
def test_a_value_of_another_kind_is_refused_not_converted(key: str, value: object, taken: str | None) -> None:
    plugin = registry.models(()).load("sasrec")
    if taken is None:
        assert attrgetter(key)(plugin.resolve("cpu", {key: value})) == value
        return
    with pytest.raises(BadConfig) as caught:
        plugin.resolve("cpu", {key: value})
    group, _, name = key.partition(".")
    assert f"{group}: {name}={value!r} would be read as {taken}." in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 3000, "unquoted"])
def test_what_is_no_toml_value_is_a_text(text: str) -> None:
    assert parse_assignment(f"width={text}") == ("width", text)


def test_a_text_is_no_truth_value() -> None:
    plugin = registry.models(()).load("gram")
    with pytest.raises(BadConfig, match="prompts: user='yes' would be read as True"):
        plugin.resolve("cpu", {"prompts.user": "yes"})


def test_a_card_is_held_to_the_same(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    sound = 'name = "shop"\ntitle = "Shop"\nterms = "none"\nreader = "csv"\ntime = "seconds"\n'
    card.write_text(sound + '[[filters]]\nkind = "min-rating"\nvalue = 3\n')
    assert load_dataset_card(card).filters[0].model_dump()["value"] == 3.0
    card.write_text(sound + '[[filters]]\nkind = "min-rating"\nvalue = "3"\n')
    with pytest.raises(BadConfig, match=r"value='3' would be read as 3\.0"):
        load_dataset_card(card)
    card.write_text(sound + "[counts]\nusers = true\n")
    with pytest.raises(BadConfig, match="users=True would be read as 1"):
        load_dataset_card(card)


def test_a_value_that_spans_lines_is_told_on_one(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text('name = "shop"\ntitle = "Shop"\nterms = "none"\nreader = "csv"\ntime = "none"\n[[filters]]\nkind = "line\\nbreak"\n')
    with pytest.raises(BadConfig) as caught:
        load_dataset_card(card)
    assert "\n" not in str(caught.value)


class Inner(PluginConfig):
    width: int = 8
    rate: float = 0.1


class Middle(PluginConfig):
    inner: Inner = Inner(width=16)
    depth: int = 1


class Outer(PluginConfig):
    middle: Middle = Middle(inner=Inner(rate=0.5), depth=3)


@pytest.mark.parametrize(
    ("values", "width", "rate", "depth"),
    [
        ({}, 8, 0.5, 3),
        ({"middle": {"depth": 4}}, 8, 0.5, 4),
        ({"middle": {"inner": {"width": 2}}}, 2, 0.5, 3),
        ({"middle": Middle()}, 16, 0.1, 1),
    ],
)
def test_one_value_of_a_group_leaves_the_others_as_the_config_states_them(
    values: dict[str, Any], width: int, rate: float, depth: int
) -> None:
    config = Outer.model_validate(values)
    assert (config.middle.inner.width, config.middle.inner.rate, config.middle.depth) == (width, rate, depth)
    assert Outer.model_validate(config.model_dump(mode="json")) == config
