"""Records as files: sealed when they are written, and only files below their own folder."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recbench.core.errors import BadData
from recbench.core.records import FilePart, Interval, RunRecord, read_record

INTERVAL = {"value": 0.25, "low": 0.125, "high": 0.5}


def a_record(**changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "run_id": "toy-popularity-default-s0-00000000-1",
        "started": "2026-11-29T00:00:00+00:00",
        "command": ["recbench", "run"],
        "model": {"name": "popularity", "preset": "default", "row_name": "popularity", "family": "scoring", "is_trivial": True}
        | {"reads_text": False, "source_hash": "0"},
        "dataset": {"name": "toy", "title": "Spielzeug – für alle", "is_synthetic": True, "time": "none", "n_users": 2, "n_items": 3}
        | {"n_interactions": 9},
        "protocol": {"split": "leave-one-out", "list_length": 50, "views": ["keep", "unseen"]},
        "fingerprints": dict.fromkeys(("train", "valid", "test", "item_text"), "0"),
        "config": {"width": 64, "rate": 1e-5},
        "config_hash": "0",
        "budget": None,
        "seed": 0,
        "code": {"version": "0", "commit": None, "is_dirty": None},
        "libraries": {},
        "device": {"type": "cpu", "name": "Toy CPU", "threads": 2, "precision": "fp32"},
        "stages": [],
        "fit": {"steps": 0, "epochs": 0.0, "examples_seen": 0, "examples_possible": 0, "parameters": 0, "parameters_trainable": 0}
        | {"parameters_embedding": 0, "chosen": {}, "stopped_by": "done"},
        "targets": {"n_users": 2, "n_targets": 2, "n_users_train_only": 0, "share_in_history": 0.0, "share_tied": None, "n_cold": 0},
        "metrics": {"keep": {"ndcg@10": INTERVAL}},
        "slices": [],
        "beyond": {},
        "diagnostics": {},
        "cost": None,
        "files": [{"name": "model/model.safetensors", "sha256": "0"}],
    }
    return RunRecord.model_validate(values | changes)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(a_record().to_json(), encoding="utf-8")
    assert read_record(tmp_path / "record.json") == a_record()


def test_other_white_space_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps(json.loads(a_record().to_json())), encoding="utf-8")
    assert read_record(tmp_path / "record.json") == a_record()


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_refused_or_changes_nothing(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.json"
    data = bytearray(a_record().to_json().encode())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with suppress(BadData):
        assert read_record(path) == a_record()


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["config"].update(width=65),
        lambda raw: raw["metrics"]["keep"]["ndcg@10"].update(value=0.26),
        lambda raw: raw.update(seed=1),
        lambda raw: raw.update(schema_version=2),
        lambda raw: raw.pop("sha256"),
        lambda raw: raw.update(seed=float("nan")),
        lambda raw: raw.update(command=["\ud800"]),
    ],
)
def test_an_edited_record_is_refused(tmp_path: Path, change: Any) -> None:
    raw = json.loads(a_record().to_json())
    change(raw)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(BadData, match="is not what was written"):
        read_record(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"schema_version": []}', '{"schema_version": ' + "9" * 5000 + "}", "[" * 100_000, "\udcff", '{"schema_version": 4}'],
)
def test_what_is_no_record_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(BadData, match=r"record\.json"):
        read_record(path)


def test_a_record_of_any_depth_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for depth in range(850, 1010, 2):
        path.write_text(f'{{"schema_version": 3, "sha256": "", "config": {"[" * depth}{"]" * depth}}}')
        with pytest.raises(BadData, match=r"record\.json"):
            read_record(path)


def test_a_figure_that_is_none_is_in_no_record() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Interval(value=float("nan"), low=0.0, high=0.0)


def test_a_folder_in_the_place_of_a_record_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be read"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", ["../ranks.parquet", "/etc/passwd", "model/../../x", "a\\b", "", ".", "model//x", "./x", "a\nb", "model/"])
def test_names_that_leave_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no name of a file below the run's folder"):
        FilePart(name=name, sha256="0")
    raw = json.loads(a_record().to_json())
    del raw["sha256"]
    raw |= {"schema_version": 2, "files": [{"name": name, "sha256": "0"}]}
    (tmp_path / "record.json").write_text(json.dumps(raw))
    with pytest.raises(BadData, match=r"files.0.name"):
        read_record(tmp_path / "record.json")


def test_records_of_earlier_versions_have_no_sum(tmp_path: Path) -> None:
    raw = json.loads(a_record().to_json())
    del raw["sha256"]
    (tmp_path / "record.json").write_text(json.dumps(raw | {"schema_version": 2}))
    assert read_record(tmp_path / "record.json") == a_record(schema_version=2)
