"""Records of before settings were nested, beside those of today: one row, the same request, no difference."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from recbench import registry
from recbench.core.config import by_dotted_name, flat_settings, toml_text
from recbench.core.records import LAST_FLAT, read_record
from recbench.reporting import StoredRun, diff, make_boards
from recbench.running.after.reproduce import request_of
from recbench.running.requests import RunRequest
from recbench.running.run.resolve import resolve, settings_of
from recbench.running.run.searched_settings import read_settings

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"
CARDS = {name: registry.models().load(name).full_card() for name in ("sasrec", "gram")}
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


def test_both_are_reproduced_by_the_same_request(two: tuple[Path, Path]) -> None:
    plugin = registry.models().load("sasrec")
    first, second = (request_of(read_record(folder / "record.json"), folder) for folder in two)
    assert first.overrides == second.overrides
    assert first.overrides["training"]["learning_rate"] == 0.002
    preset, config, _ = settings_of(plugin, first, "cpu")
    assert (preset, flat_settings(config.model_dump(mode="json"), plugin.card.moved)) == ("paper", FLAT)


@pytest.mark.parametrize("model", sorted(CARDS))
def test_published_records_are_reproduced_with_their_settings(model: str) -> None:
    plugin = registry.models().load(model)
    folders = sorted(RECORDS.glob(f"*-{model}-*"))
    assert folders
    for folder in folders:
        record = read_record(folder / "record.json")
        assert record.is_flat
        _, config, _ = settings_of(plugin, request_of(record, folder), "cpu")
        found = by_dotted_name(flat_settings(config.model_dump(mode="json"), plugin.card.moved))
        for name, value in by_dotted_name(record.config).items():
            assert found[name] == value, f"{folder.name}: {name}"


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
    values, tuned = read_settings(tmp_path / "best.toml", "sasrec", plugin.card.moved)
    assert values == {"training": {"learning_rate": 0.002}, "network": {"width": 32}, "loss": "ce"}
    assert tuned is not None
    assert list(tuned.log.space) == ["network.width"]
    assert tuned.gave(plugin.resolve("paper", None, NESTED))
    assert not tuned.gave(plugin.resolve("paper", None, {**NESTED, "batch_size": 65}))
