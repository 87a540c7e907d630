"""A model that can be moved answers where its run computes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shared_stages import Holder, NoSettings, plugin_of

from recbench import registry
from recbench.core import BadRequest, Budget, Catalogue, FitContext, Plugin, SilentProgress, World
from recbench.running.after import loaded
from recbench.running.after.loaded import LoadedRun
from recbench.running.host.machine import Machine
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request
from recbench.running.run.training import TrainedModel, Trainer
from recbench.running.stages.store import StageStore
from recbench.tasks import NEXT_ITEM
from recbench.testing import small_split


def nothing(_: FitContext) -> np.ndarray:
    return np.zeros((1, 1), np.float32)


class Traveller(Holder):
    """Notes what happens to it."""

    def __init__(self) -> None:
        super().__init__(nothing)
        self.happened: list[str] = []

    def load(self, folder: Path) -> None:
        self.happened.append("load")

    def to(self, device: str) -> None:
        self.happened.append(device)


def trained(plugin: Plugin, folder: Path) -> TrainedModel:
    trainer = Trainer(
        task=NEXT_ITEM,
        split=small_split(folder),
        machine=Machine("cuda:3", "a card that is not here", "fp32", 1),
        store=StageStore(folder / "stages"),
        progress=SilentProgress(),
        budget=Budget(),
        world=World(),
        load_plugin={}.__getitem__,
    )
    return trainer.train(plugin, NoSettings(), 0, None)


def test_a_trained_model_is_moved_to_the_run_s_device_and_one_that_cannot_stays(tmp_path: Path) -> None:
    plain = plugin_of("plain", nothing, tmp_path / "plain")
    assert isinstance(trained(plain, tmp_path).recommender.raw, Holder)
    traveller = replace(plugin_of("traveller", nothing, tmp_path / "traveller"), build=lambda config, catalogue: Traveller())
    for _ in ("trained", "found in the cache"):
        recommender = trained(traveller, tmp_path).recommender.raw
        assert isinstance(recommender, Traveller)
        assert recommender.happened == ["load", "cuda:3"]


def test_a_loaded_run_stays_on_the_cpu_unless_a_device_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run_request(
        RunRequest("popularity", "demo", threads=1, seen="keep"),
        Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards"),
    )
    assert outcome is not None

    def build(config: object, catalogue: Catalogue) -> Traveller:
        return Traveller()

    plugin = replace(registry.models().load("popularity"), build=build)
    assert LoadedRun.open(outcome.folder, plugin).recommender.raw.happened == ["load", "cpu"]
    with pytest.raises(BadRequest, match="cuda:77"):
        LoadedRun.open(outcome.folder, plugin, device="cuda:77")
    monkeypatch.setattr(loaded, "resolve_device", lambda device: f"{device}:0")
    assert LoadedRun.open(outcome.folder, plugin, device="cuda").recommender.raw.happened == ["load", "cuda:0"]
