"""Records of before settings were nested, beside those of today: one row, the same request, no difference."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench import registry
from recbench.core.config import by_dotted_name, flat_settings, hashed_settings, nested, toml_text
from recbench.core.records import LAST_FLAT, read_record
from recbench.reporting import StoredRun, diff, make_boards
from recbench.running.after.reproduce import request_of
from recbench.running.requests import RunRequest
from recbench.running.run.resolve import resolve, settings_of
from recbench.running.run.searched_settings import read_settings
from recbench.tasks import NEXT_ITEM

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"
CARDS = {name: registry.models().load(name).full_card for name in ("sasrec", "gram")}
# As records of schema 3 have them; the hash is that of this very text.
FLAT = {"loss": "ce", "n_negatives": 256, "calibration": 0.75, "batch_size": 64, "batch_unit": "sequences"}
FLAT |= {"width": 32, "n_layers": 1, "n_heads": 1, "hidden": None, "max_length": 20, "dropout": 0.25, "norm": "pre"}
FLAT |= {"activation": "relu", "init": "xavier", "embedding_scale": "root-width", "optimizer": "adam", "learning_rate": 0.002}
FLAT |= {"betas": [0.9, 0.98], "epsilon": 1e-8, "weight_decay": 0.0, "decay_on": "matrices", "schedule": "constant", "warmup_steps": 0}
FLAT |= {"warmup_share": 0.0, "clip_norm": None, "accumulate": 1, "max_steps": None, "max_epochs": 7, "steps_per_epoch": None}
FLAT |= {"examples_per_epoch": None, "validate_every_epochs": 1, "validate_every_steps": None, "patience": 3}
FLAT |= {"checkpoint_every_s": 300.0, "curve_every_steps": 50}
NESTED = {
    "loss": "ce",
    "batch_size": 64,
    "network": {"width": 32, "n_layers": 1, "max_length": 20, "dropout": 0.25},
    "training": {"learning_rate": 0.002, "max_epochs": 7, "validate_every_epochs": 1, "patience": 3},
}


def old_hash(model: str, flat: dict[str, Any], budget: str | None = None) -> str:
    text = json.dumps({"model": model, "config": flat, "budget": budget}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def two(workshop: Any) -> tuple[Path, Path]:
    """A flat record of schema 3 and a nested one of another seed, with equal settings."""
    new = resolve(RunRequest("sasrec", "demo", preset="paper", overrides=NESTED, threads=1))
    config = new.config.model_dump(mode="json")
    first = workshop.run(seed=0, schema_version=LAST_FLAT, config_hash=old_hash("sasrec", FLAT))
    second = workshop.run(seed=1, config_hash=new.config_hash)
    for folder, settings in ((first, FLAT), (second, config)):
        record = read_record(folder / "record.json").model_copy(update={"config": settings})
        (folder / "record.json").write_text(record.to_json())
    return first, second


def test_they_share_a_row_whose_changed_settings_are_named_as_in_its_record(two: tuple[Path, Path]) -> None:
    (board,) = make_boards([StoredRun.open(folder) for folder in two], CARDS)
    (row,) = board.sections[0].rows
    assert "2 seeds" in row.marks("keep")
    marks = []
    for folder in two:
        (board,) = make_boards([StoredRun.open(folder)], CARDS)
        marks.append(next(mark for mark in board.sections[0].rows[0].marks("keep") if mark.startswith("not as its preset")))
    assert "learning_rate=0.002" in marks[0]
    assert "training.learning_rate=0.002" in marks[1]
    assert "training." not in marks[0]
    assert marks[0].count("=") == marks[1].count("=") == 10


def test_they_do_not_differ(two: tuple[Path, Path]) -> None:
    names = [row.name for row in diff(*two, CARDS) if row.area == "setting"]
    assert names == ["seed"]


@pytest.fixture
def older(two: tuple[Path, Path]) -> Path:
    """The nested record as it was before the model gained settings."""
    added = CARDS["sasrec"].added
    record = read_record(two[1] / "record.json")
    flat = by_dotted_name(record.config)
    assert set(added) <= set(flat)
    config = nested({name: value for name, value in flat.items() if name not in added})
    (two[1] / "record.json").write_text(record.model_copy(update={"config": config}).to_json())
    return two[1]


def test_settings_gained_since_count_with_what_was_done_before(two: tuple[Path, Path], older: Path) -> None:
    assert [row.name for row in diff(two[0], older, CARDS) if row.area == "setting"] == ["seed"]
    (board,) = make_boards([StoredRun.open(folder) for folder in (two[0], older)], CARDS)
    assert "2 seeds" in board.sections[0].rows[0].marks("keep")
    plugin = registry.models().load("sasrec")
    request = request_of(read_record(older / "record.json"), older)
    _, config, _ = settings_of(plugin, request, NEXT_ITEM, "cpu")
    assert resolve(replace(request, dataset="demo")).config_hash == read_record(older / "record.json").config_hash
    assert config == plugin.resolve("paper", None, NESTED)


@pytest.mark.parametrize("which", [0, 1])
def test_a_preset_that_took_up_a_gained_setting_is_not_what_old_runs_had(two: tuple[Path, Path], older: Path, which: int) -> None:
    """Flat and nested records do not know the setting; their runs did as `[added]` says."""
    record = read_record((two[0], older)[which] / "record.json")
    card = CARDS["sasrec"]
    before = card.changed_settings(record)
    presets = {name: {**preset, "batch_order": "random"} for name, preset in card.presets.items()}
    after = card.model_copy(update={"presets": presets}).changed_settings(record)
    assert sorted(set(after) - set(before)) == ["batch_order=bucketed"]
    assert set(before) < set(after)


def test_a_gained_setting_enters_the_hash_once_it_is_used() -> None:
    def hash_of(**overrides: Any) -> str:
        return resolve(RunRequest("sasrec", "demo", preset="paper", overrides=overrides, threads=1)).config_hash

    assert hash_of() == hash_of(batch_order="bucketed") != hash_of(batch_order="random")
    assert hash_of() != hash_of(**{"network.layer_norm_eps": 1e-5})


def test_both_are_reproduced_by_the_same_request(two: tuple[Path, Path]) -> None:
    plugin = registry.models().load("sasrec")
    first, second = (request_of(read_record(folder / "record.json"), folder) for folder in two)
    assert first.overrides == second.overrides
    assert first.overrides["training"]["learning_rate"] == 0.002
    preset, config, _ = settings_of(plugin, first, NEXT_ITEM, "cpu")
    assert (preset, hashed_settings(config.model_dump(mode="json"), plugin.card.moved, plugin.card.added)) == ("paper", FLAT)


@pytest.mark.parametrize("model", sorted(CARDS))
def test_published_records_are_reproduced_with_their_settings(model: str) -> None:
    plugin = registry.models().load(model)
    folders = sorted(RECORDS.glob(f"*-{model}-*"))
    assert folders
    n_flat = 0
    for folder in folders:
        record = read_record(folder / "record.json")
        n_flat += record.is_flat
        _, config, _ = settings_of(plugin, request_of(record, folder), NEXT_ITEM, "cpu")
        settings = config.model_dump(mode="json")
        found = by_dotted_name(flat_settings(settings, plugin.card.moved) if record.is_flat else settings)
        for name, value in by_dotted_name(record.config).items():
            assert found[name] == value, f"{folder.name}: {name}"
    assert n_flat > 0


def test_a_search_draws_what_it_drew_under_the_flat_names() -> None:
    plugin = registry.models().load("sasrec")
    assert plugin.card.tune is not None
    moved = plugin.card.moved
    flat_name = {new: old for old, new in moved.items()}
    flat = plugin.card.tune.model_copy(update={"space": {flat_name.get(name, name): dim for name, dim in plugin.card.tune.space.items()}})
    for trial in range(1, 6):
        values, _ = plugin.trial(trial, 7, "paper")
        drawn = [flat.draw("sasrec", 7, trial, attempt) for attempt in range(9)]
        assert values in [{moved.get(name, name): value for name, value in found.items()} for found in drawn]


def test_the_file_of_a_flat_search_can_still_be_run(tmp_path: Path) -> None:
    plugin = registry.models().load("sasrec")
    drawn = {"learning_rate": 0.002, "width": 32, "loss": "ce"}
    trial = {"trial": 1, "state": "done", "values": drawn, "config": FLAT, "score": 0.1}
    facts = dict.fromkeys(("source_hash", "dataset", "protocol", "ties", "train", "valid", "device"), "x")
    log = {"schema_version": 1, "model": "sasrec", "preset": "paper", "seed": 0, "budget": None, "metric": "ndcg@10", "jobs": 1, **facts}
    log |= {"threads": None, "space": {"width": {"choices": [32, 64]}}, "trials": [trial]}
    (tmp_path / "trials.json").write_text(json.dumps(log))
    mark = {"trials": "trials.json", "sha256": hashlib.sha256((tmp_path / "trials.json").read_bytes()).hexdigest(), "trial": 1}
    (tmp_path / "best.toml").write_text(toml_text(drawn | {"tune": mark}))
    values, tuned = read_settings(tmp_path / "best.toml", plugin.card)
    assert values == {"training": {"learning_rate": 0.002}, "network": {"width": 32}, "loss": "ce"}
    assert tuned is not None
    assert list(tuned.log.space) == ["network.width"]
    assert tuned.gave(plugin.resolve("paper", None, NESTED))
    assert not tuned.gave(plugin.resolve("paper", None, {**NESTED, "batch_size": 65}))
