"""Settings in groups: dotted names, presets that merge, TOML that can be fed back, and the step from flat records."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench import registry
from recbench.core import Catalogue, Plugin, PluginConfig
from recbench.core.config import by_dotted_name, flat_settings, hashed_settings, moved_settings, nested, toml_text, with_added
from recbench.core.errors import BadConfig
from recbench.core.model_card import ModelCard

MODELS = registry.models(())
PRESETS = [(name, preset) for name in MODELS.names() for preset in MODELS.load(name).card.presets]
names = st.text("abc_", min_size=1, max_size=3)
values = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | st.lists(st.integers(0, 9), max_size=2)
groups = st.recursive(st.dictionaries(names, values, max_size=3), lambda inner: st.dictionaries(names, values | inner, max_size=3))


class Inner(PluginConfig):
    rate: float = 0.1
    labels: Mapping[str, str] = {}


class Training(PluginConfig):
    rate: float = 0.01
    steps: int = 10
    inner: Inner = Inner()


class Config(PluginConfig):
    training: Training = Training()
    width: int = 8


def plugin(**changes: Any) -> Plugin:
    presets = {
        "base": {"width": 16, "training": {"steps": 20, "inner": {"rate": 0.5, "labels": {"a": "b"}}}},
        "child": {"extends": "base", "training": {"rate": 0.02, "inner": {"labels": {"c": "d"}}}},
    }
    card = {"name": "x", "title": "x", "summary": "x", "family": "scoring", "presets": presets, "default": {"cpu": "base", "cuda": "base"}}

    def build(config: Any, catalogue: Catalogue) -> Any:
        raise NotImplementedError

    return Plugin(ModelCard.model_validate(card | changes), Config, build, Path())


def test_extends_merges_groups_and_replaces_settings() -> None:
    assert plugin().resolve("child").model_dump() == {
        "training": {"rate": 0.02, "steps": 20, "inner": {"rate": 0.5, "labels": {"c": "d"}}},
        "width": 16,
    }


def test_later_layers_win_whether_dotted_or_nested() -> None:
    found = plugin().resolve("base", {"training": {"steps": 30}, "width": 4}, {"training.steps": 40, "training.inner": {"rate": 1.0}})
    assert (found.width, found.training.steps, found.training.inner.rate) == (4, 40, 1.0)  # type: ignore[attr-defined]
    assert found.training.inner.labels == {"a": "b"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "empty", [{"training": {}}, {"training": {"inner": {}}}, {"training.inner": {}}, {"training": {"inner": {}, "steps": 20}}]
)
def test_a_group_without_settings_changes_nothing(empty: dict[str, Any]) -> None:
    card = plugin().card
    presets = {**card.presets, "emptied": {"extends": "child", **empty}}
    expected = plugin().resolve("child")
    assert plugin().resolve("child", empty) == plugin().resolve("child", None, empty) == expected
    assert plugin(presets=presets).resolve("emptied") == expected


def test_a_setting_that_is_a_mapping_can_be_emptied() -> None:
    found = plugin().resolve("base", {"training": {"inner": {"labels": {}}}})
    assert found.training.inner.labels == {}  # type: ignore[attr-defined]
    assert found.training.inner.rate == 0.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("steps", "training.steps"),
        ("training.stepz", "training.steps"),
        ("labels", "training.inner.labels"),
        ("old_rate", "training.inner.rate"),
        ("rate", "training.rate"),
    ],
)
def test_an_unknown_setting_gets_the_nearest_by_its_last_part(key: str, hint: str) -> None:
    with pytest.raises(BadConfig, match=f"no key '{key}'. Did you mean '{hint}'"):
        plugin(moved={"old_rate": "training.inner.rate"}).resolve("base", None, {key: 1})


def test_a_fault_within_a_group_names_the_group() -> None:
    with pytest.raises(BadConfig, match=r"training\.steps='many'"):
        plugin().resolve("base", None, {"training.steps": "many"})
    with pytest.raises(BadConfig, match=r"Known: training\.inner, training\.rate, training\.steps\."):
        plugin().resolve("base", None, {"training.zzz": 1})


@given(groups)
def test_dotted_names_and_groups_are_two_forms_of_the_same(tree: dict[str, Any]) -> None:
    assert nested(by_dotted_name(tree)) == tree


@given(groups)
def test_toml_can_be_read_back(tree: dict[str, Any]) -> None:
    def told(tree: dict[str, Any]) -> dict[str, Any]:
        return {key: told(value) if isinstance(value, dict) else value for key, value in tree.items() if value is not None}

    assert tomllib.loads(toml_text(tree)) == told(tree)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_survives_the_step_from_a_flat_record(name: str, preset: str) -> None:
    model = MODELS.load(name)
    settings = model.resolve(preset).model_dump(mode="json")
    flat = flat_settings(settings, model.card.moved)
    # Settings that came later never had a flat name.
    older = flat_settings(
        nested({key: value for key, value in by_dotted_name(settings).items() if key not in model.card.added}), model.card.moved
    )
    groups = set(model.resolve(preset).parts)
    if model.card.moved:
        assert not groups & {key for key, value in older.items() if isinstance(value, dict) and value}, "all of a group has moved"
    assert moved_settings(flat, model.card.moved) == settings
    assert model.resolve(preset, None, moved_settings(flat, model.card.moved)).model_dump(mode="json") == settings
    assert model.resolve(preset, tomllib.loads(toml_text(settings))).model_dump(mode="json") == settings


def test_two_settings_cannot_move_to_one_place() -> None:
    with pytest.raises(ValueError, match=r"two settings are moved to 'training\.rate'"):
        plugin(moved={"rate": "training.rate", "training.*": ["rate", "learning.rate"]})


def test_a_list_of_names_is_moved_into_a_group() -> None:
    assert plugin(moved={"training.*": ["rate", "old.steps"]}).card.moved == {"rate": "training.rate", "old.steps": "training.steps"}


@given(groups, st.dictionaries(names, values, max_size=3))
def test_gained_settings_are_filled_in_and_leave_the_hash_alone(tree: dict[str, Any], added: dict[str, Any]) -> None:
    old = nested({name: value for name, value in by_dotted_name(tree).items() if name.partition(".")[0] not in added})
    full = with_added(old, added)
    assert full == old | added
    assert with_added(full, dict.fromkeys(added, "another value")) == full
    assert hashed_settings(full, {}, added) == hashed_settings(old, {}, added) == old


def test_rows_are_named_by_settings_that_are_not_at_their_default() -> None:
    made = plugin(label=["width"], label_unless_default=["training.steps", "training.rate"])
    assert made.row_name("base", made.resolve("base")) == "x:base (16, steps=20)"
    assert made.row_name("base", made.resolve("base", None, {"training.steps": 10})) == "x:base (16)"
    unknown = plugin(label_unless_default=["training.stepz"])
    with pytest.raises(BadConfig, match=r"labels rows by 'training\.stepz', which is no setting. Did you mean 'training\.steps'"):
        unknown.row_name("base", unknown.resolve("base"))
