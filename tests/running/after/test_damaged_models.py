"""Damaged run folders: a sentence, or the same answers. `benchmarks/faults/saved_models.py` does the same a thousand times."""

import importlib.util
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recbench import registry
from recbench.core import BadData, FitReport, PluginFailed
from recbench.core.records import read_record
from recbench.running.after.loaded import LoadedRun
from recbench.running.after.reproduce import reproduce
from recbench.running.run.fit_reports import checked_report
from recbench_models.popularity.recommender import Popularity

CAMPAIGN = Path(__file__).parents[3] / "benchmarks" / "faults" / "saved_models.py"


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    spec = importlib.util.spec_from_file_location("saved_models", CAMPAIGN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["saved_models"] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(campaign: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    models = (("popularity", None), ("item-knn", None), ("sasrec", "smoke"))
    folders = campaign.train(tmp_path_factory.mktemp("trained"), models)
    return {model: folder for (model, _), folder in zip(models, folders, strict=True)}


@pytest.mark.parametrize("model", ["popularity", "item-knn", "sasrec"])
def test_damages_are_refused_or_change_no_answer(campaign: Any, trained: dict[str, Path], model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([7, *model.encode()])
    expected = campaign.answer(trained[model])
    outcomes = [campaign.after_damage(trained[model], expected, rng, tmp_path) for _ in range(14)]
    assert [outcome for outcome in outcomes if outcome.kind in {"other", "raw"}] == []
    assert {outcome.kind for outcome in outcomes} == {"refused", "same"}


def other_weights(folder: Path) -> None:
    """Weights of the right shape, as a flipped bit or another run's file would be."""
    path = folder / "model" / "model.safetensors"
    save_file({name: value[::-1].copy() for name, value in load_file(path).items()}, path)


def other_catalogue(folder: Path) -> None:
    data = bytearray((folder / "catalogue.parquet").read_bytes())
    data[len(data) // 3] ^= 1
    (folder / "catalogue.parquet").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (other_weights, r"model/model.safetensors: its sha256 is .* damaged"),
        (other_catalogue, r"catalogue.parquet: its sha256 is"),
        (lambda folder: (folder / "model" / "model.safetensors").unlink(), r"model.safetensors: the record names this file"),
        (lambda folder: (folder / "catalogue.parquet").unlink(), r"catalogue.parquet: the record names this file"),
        (lambda folder: (folder / "model" / "more.json").write_text("{}"), r"more.json: the record names no such file"),
    ],
)
def test_each_damage_is_named(trained: dict[str, Path], tmp_path: Path, damage: Callable[[Path], Any], words: str) -> None:
    folder = shutil.copytree(trained["popularity"], tmp_path / "run")
    damage(folder)
    with pytest.raises(BadData, match=words):
        LoadedRun.open(folder, registry.models().load("popularity"))


def test_every_file_of_the_model_has_its_sum_in_the_record(trained: dict[str, Path]) -> None:
    for folder in trained.values():
        named = {part.name for part in read_record(folder / "record.json").files}
        assert {path.relative_to(folder).as_posix() for path in (folder / "model").iterdir()} <= named
        assert {"catalogue.parquet", "config.toml", "ranks.parquet"} <= named


def test_a_record_without_sums_is_loaded_with_a_warning(trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shutil.copytree(trained["popularity"], tmp_path / "old")
    record = read_record(folder / "record.json")
    (folder / "record.json").write_text(record.model_copy(update={"schema_version": 2}).to_json())
    with caplog.at_level(logging.WARNING, "recbench"):
        LoadedRun.open(folder, registry.models().load("popularity"))
    assert "before records kept checksums" in caplog.text


def test_a_model_that_was_changed_since_says_so(
    trained: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbench.running.after.loaded.plugin_source_hash", lambda folder: "other")
    with caplog.at_level(logging.WARNING, "recbench"):
        LoadedRun.open(trained["popularity"], registry.models().load("popularity"))
    assert "popularity changed since" in caplog.text


def test_a_load_that_fails_names_the_model(trained: dict[str, Path]) -> None:

    class Broken(Popularity):
        def load(self, folder: Path) -> None:
            raise KeyError("count")

    plugin = replace(registry.models().load("popularity"), build=lambda _, catalogue: Broken(catalogue))
    with pytest.raises(PluginFailed, match=r"'popularity' failed in load.*KeyError: 'count'"):
        LoadedRun.open(trained["popularity"], plugin)


def test_reproduce_refuses_damaged_ranks_before_any_training(trained: dict[str, Path], tmp_path: Path, campaign: Any) -> None:
    folder = shutil.copytree(trained["popularity"], tmp_path / "run")
    (folder / "ranks.parquet").write_bytes(b"PAR1")
    workplace = campaign.Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "boards")
    with pytest.raises(BadData, match=r"ranks.parquet: its sha256"):
        reproduce(folder, workplace)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["../codes", "/tmp/codes", "a/b", "", ".", "a\nb"])
def test_an_artefact_stays_in_its_stage(name: str, tmp_path: Path) -> None:
    with pytest.raises(PluginFailed, match=r"artefacts = .*names of letters, digits, - and _"):
        checked_report(FitReport(artefacts={name: tmp_path / "codes.parquet"}), "toy")
