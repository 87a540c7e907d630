"""Model columns in a run: handed to models whose cards name them, part of their keys, refused where the data lack them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadConfig, BadRequest, FitContext, FitReport, Plugin
from recbench.registry import Registry
from recbench.reporting.archive import StoredRun
from recbench.reporting.board import refuse_mixed_splits
from recbench.reporting.difference import diff
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run.execute import run_request
from recbench_models.random import PLUGIN
from recbench_models.random.recommender import Random

COLUMN = "phrase"


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `random` finds in its context; its card needs the columns under `needs`, and it asks for those under `asks`.

    The card of `popularity` says that it may ask for vectors of `random`.
    """
    found: dict[str, Any] = {"needs": (), "asks": ()}
    original = Registry.load

    def load(self: Registry[Plugin], name: str) -> Plugin:
        plugin = original(self, name)
        changes = {"random": {"needs_columns": found["needs"]}, "popularity": {"uses": ("random",)}}
        return replace(plugin, card=plugin.card.model_copy(update=changes.get(name, {})))

    def fit(self: Random, context: FitContext) -> FitReport:
        found["columns"] = list(context.items.model_columns)
        found["values"] = [context.items.model_columns[name].tolist() for name in found["asks"]]
        return FitReport()

    monkeypatch.setattr(Registry, "load", load)
    monkeypatch.setattr(Random, "fit", fit)
    return found


def shop(folder: Path, phrases: Sequence[str], card: str = f'model_columns = ["{COLUMN}"]') -> Path:
    """The card of twelve users with the same events, whatever the items' phrases are."""
    data = folder / "data"
    data.mkdir(parents=True)
    events = [f"u{user:02d},i{(user + place) % 10},{1_600_000_000 + place}" for user in range(12) for place in range(6)]
    (data / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n")
    rows = [f"i{row},{phrase},-" for row, phrase in enumerate(phrases)]
    (data / "items.csv").write_text("\n".join([f"item_id,{COLUMN},other", *rows]) + "\n")
    path = folder / "shop.toml"
    sources = '[[sources]]\nkind = "folder"\npath = "data"\n'
    path.write_text(f'name = "shop"\ntitle = "Shop"\nterms = "own"\nreader = "csv"\ntime = "seconds"\n{card}\n{sources}')
    return path


def run(workplace: Workplace, source: Path, model: str = "random") -> RunOutcome:
    outcome = run_request(RunRequest(model, str(source), threads=1), workplace)
    assert outcome is not None
    return outcome


def trained_anew(outcome: RunOutcome) -> bool:
    return not {stage.name: stage.reused for stage in outcome.record.stages}["training-random"]


PHRASES = [f"hat {row}" for row in range(10)]


def test_columns_reach_models_that_name_them_alone(workplace: Workplace, tmp_path: Path, handed: dict[str, Any]) -> None:
    card = f'model_columns = ["{COLUMN}", "other"]'
    first, second = shop(tmp_path / "a", PHRASES, card), shop(tmp_path / "b", PHRASES[::-1], card)
    plain = run(workplace, first)
    assert handed["columns"] == []
    assert plain.record.model.columns == {}
    # Other values are the same run of a model that reads none.
    assert run(workplace, second).record.run_id == plain.record.run_id
    handed |= {"needs": (COLUMN,), "asks": (COLUMN,)}
    one, other = run(workplace, first), run(workplace, second)
    assert handed["columns"] == [COLUMN]
    assert handed["values"] == [PHRASES[::-1]]
    assert trained_anew(one)
    assert trained_anew(other)
    assert one.record.fingerprints == other.record.fingerprints == plain.record.fingerprints
    assert set(one.record.model.columns) == {COLUMN}
    assert one.record.model.columns != other.record.model.columns
    assert run(workplace, first).record.run_id == one.record.run_id


def test_what_read_other_values_stands_on_no_board_together(workplace: Workplace, tmp_path: Path, handed: dict[str, Any]) -> None:
    handed["needs"] = (COLUMN,)
    one, other = (run(workplace, shop(tmp_path / name, phrases)) for name, phrases in (("a", PHRASES), ("b", PHRASES[::-1])))
    runs = [StoredRun.open(outcome.folder) for outcome in (one, other)]
    with pytest.raises(BadRequest, match=f"their item columns '{COLUMN}' differ"):
        refuse_mixed_splits(runs)
    refuse_mixed_splits(runs[:1])
    (found,) = [row for row in diff(one.folder, other.folder, {"random": PLUGIN.card}) if row.area == "data"]
    assert (found.name, found.note) == (COLUMN, "the models read other values of this item column")


def test_a_column_that_the_data_lack_is_refused_before_training(workplace: Workplace, tmp_path: Path, handed: dict[str, Any]) -> None:
    handed["needs"] = (COLUMN,)
    cases = (
        ("unnamed", PHRASES, ""),
        ("another", PHRASES, 'model_columns = ["other"]'),
        ("empty", [""] * 10, f'model_columns = ["{COLUMN}"]'),
    )
    for name, phrases, card in cases:
        with pytest.raises(
            BadRequest, match=f"'random' reads the item column '{COLUMN}', which this data set does not hand to models"
        ) as told:
            run(workplace, shop(tmp_path / name, phrases, card))
        assert "names it under model_columns and some item has a value in it" in str(told.value)
    assert "columns" not in handed


def test_a_column_that_the_model_does_not_name_is_refused(workplace: Workplace, tmp_path: Path, handed: dict[str, Any]) -> None:
    handed["asks"] = (COLUMN,)
    with pytest.raises(BadConfig, match=f"'random' reads the item column '{COLUMN}' and its card does not say so"):
        run(workplace, shop(tmp_path / "a", PHRASES))


def test_columns_of_a_model_that_is_asked_are_part_of_the_asker_s_keys(
    workplace: Workplace, tmp_path: Path, handed: dict[str, Any]
) -> None:
    first, second = shop(tmp_path / "a", PHRASES), shop(tmp_path / "b", PHRASES[::-1])
    assert run(workplace, first, "popularity").record.run_id == run(workplace, second, "popularity").record.run_id
    handed["needs"] = (COLUMN,)
    one, other = run(workplace, first, "popularity"), run(workplace, second, "popularity")
    assert one.record.run_id != other.record.run_id
    assert not {stage.name: stage.reused for stage in other.record.stages}["training-popularity"]
