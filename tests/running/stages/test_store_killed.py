"""The cache after a process was killed at the worst moment."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.running.stages.store import MANIFEST, StageStore, cache_entries, clean_cache, damage, stage_content


def write(folder: Path) -> None:
    (folder / "value.txt").write_text("7")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    StageStore(tmp_path / "stages").get("codes", {"seed": 0}, write)
    return tmp_path


def stage_of(home: Path) -> Path:
    (folder,) = (home / "stages").glob("codes-*")
    return folder


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_checkpoints_of_a_finished_stage_go_at_its_next_use(home: Path) -> None:
    store = StageStore(home / "stages")
    partial = store.partial("codes", store.key("codes", {"seed": 0}))
    (partial / "training" / "000007").mkdir(parents=True)
    assert store.get("codes", {"seed": 0}, write).reused
    assert not partial.exists()


def test_a_stage_whose_removal_was_cut_off_is_no_damaged_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clean_cache(home)
    assert [entry.kind for entry in cache_entries(home)] == ["partial"]
    assert not StageStore(home / "stages").get("codes", {"seed": 0}, write).reused
    assert not (home / "stages" / "damaged").exists()
    clean_cache(home)
    assert not list((home / "stages").glob(".removing-*"))
    assert not list((home / "stages" / "locks").glob(".removing-*"))


def test_a_stage_that_was_to_be_computed_again_leaves_nothing_of_the_old_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = stage_of(home)
    with pytest.raises(KeyboardInterrupt):
        StageStore(home / "stages", rerun=("codes",)).get("codes", {"seed": 0}, killed)
    assert not old.exists()
    assert not StageStore(home / "stages").get("codes", {"seed": 0}, write).reused
    assert [path.name for path in (home / "stages").iterdir() if path.name != "locks"] == [old.name]


def test_downloads_whose_removal_was_cut_off_are_gone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = home / "datasets" / "shop" / "source-0"
    kept.mkdir(parents=True)
    (kept / "fetched.json").write_text("{}")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clean_cache(home, ("download",))
    assert not kept.parent.exists()


def test_what_a_killed_process_was_building_is_listed_and_cleaned(home: Path) -> None:
    left = home / "stages" / ".building-training-sasrec-0123456789"
    left.mkdir()
    (left / "model.bin").write_bytes(bytes(1000))
    (entry,) = [entry for entry in cache_entries(home) if entry.kind == "partial"]
    assert (entry.name, entry.size_bytes) == ("training-sasrec-0123456789", 1000)
    clean_cache(home, ("partial",))
    assert not left.exists()
    assert stage_of(home).exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda manifest: manifest.pop("seconds"),
        lambda manifest: manifest.update(seconds="long"),
        lambda manifest: manifest.update(seconds=float("nan")),
        lambda manifest: manifest.update(seconds=-1.0),
        lambda manifest: manifest.update(peak_memory_bytes=None),
        lambda manifest: manifest.update(peak_memory_bytes=-1),
        lambda manifest: manifest.update(peak_device_memory_bytes="much"),
        lambda manifest: manifest.pop("stage"),
        lambda manifest: manifest.update(files=[]),
        lambda manifest: manifest["files"].update({"value.txt": None}),
        lambda manifest: manifest["files"]["value.txt"].pop("mtime_ns"),
        lambda manifest: manifest["files"]["value.txt"].update(bytes="1"),
        lambda manifest: manifest["files"]["value.txt"].update(sha256=True),
    ],
)
def test_a_manifest_that_lacks_something_is_damage(home: Path, spoil: Callable[[dict[str, Any]], object]) -> None:
    path = stage_of(home) / MANIFEST
    manifest = json.loads(path.read_text())
    spoil(manifest)
    path.write_text(json.dumps(manifest))
    assert damage(stage_of(home)) == "manifest.json is missing or unreadable"
    assert stage_content(stage_of(home)) is None
    again = StageStore(home / "stages").get("codes", {"seed": 0}, write)
    assert not again.reused
    assert (again.folder / "value.txt").read_text() == "7"
