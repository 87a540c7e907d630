"""`recbench tune`: the same number of trials for every model, chosen on validation, gone on with after a kill."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench import registry
from recbench.core import BadConfig, ModelCard
from recbench.core.config import by_dotted_name
from recbench.core.tuning import Dimension, TuneCard
from recbench.reporting import StoredRun
from recbench.reporting.badges import badge_of
from tests.cli.plugin_parts import SAME_LIST_FOR_ALL

CPU = ("--device", "cpu", "--threads", "1")
SPACE = """
[tune]
preset = "default"
[tune.space]
width = { integers = [1, 100000] }
"""
INIT = (
    """
import os
import time
from pathlib import Path
import numpy as np
from recbench.core import FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    width: int = 4
    '''Decides how good it is.'''

class Model:
    def __init__(self, config, catalogue):
        self.width, self.n_items = config.width, catalogue.n_items
    def fit(self, context):
        {fit}
"""
    + SAME_LIST_FOR_ALL
)
GOOD = 'return FitReport(steps=self.width, chosen={"ndcg@10": self.width / 1e5})'


def tuned(recbench: Any, *arguments: str | Path, trials: int = 2) -> Any:
    done = recbench("tune", *arguments, "--trials", trials, *CPU, "--json")
    assert done.code == 0, done.stderr
    return done.json


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """A folder with two data sets and a search of two trials on one of them, its cache, and what the search said."""
    folder, home = tmp_path_factory.mktemp("tuned"), tmp_path_factory.mktemp("home")
    for name, step in (("walks", 7), ("strolls", 11)):
        (folder / name).mkdir()
        rows = [f"u{user:02},i{(user * step + place**2) % 40:02},{1_000_000 + place}" for user in range(40) for place in range(6)]
        (folder / name / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows, ""]))
    environment = {**os.environ, "RECBENCH_HOME": str(home)}
    command = [sys.executable, "-P", "-m", "recbench", "tune", "item-knn", "./walks", "--trials", "2", *CPU, "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return folder, home, json.loads(done.stdout)


@pytest.fixture
def desk(recbench: Any, searched: tuple[Path, Path, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command in a copy of that folder."""
    shutil.copytree(searched[0], recbench.folder, dirs_exist_ok=True)
    monkeypatch.setenv("RECBENCH_HOME", str(searched[1]))
    return recbench


def test_a_search_keeps_every_trial_and_ranks_no_test_user(desk: Any, searched: tuple[Path, Path, Any]) -> None:
    _, home, found = searched
    folder = desk.folder / found["folder"]
    assert folder.parent == desk.folder / "runs" / "tune"
    log = json.loads((folder / "trials.json").read_text())
    assert log["trials"] == found["trials"]
    assert [trial["trial"] for trial in log["trials"]] == [0, 1]
    assert log["trials"][0]["values"] == {}
    assert set(log["trials"][1]["values"]) == {"decay", "neighbours", "shrink"}
    assert {trial["measured_by"] for trial in log["trials"]} == {"ranking"}
    assert found["best"]["score"] == max(trial["score"] for trial in log["trials"])
    # Nothing of the test part: no lists, no record, no figure but the one on validation.
    assert list((home / "stages").glob("ranking-*")) == []
    assert desk("list", "runs", "--json").json == []
    assert log["metric"] == "ndcg@10"
    assert not {"metrics", "recall@10", "slices", "test"} & set(json.dumps(log).replace('"', " ").split())


def test_the_command_of_the_best_settings_works_as_printed(desk: Any, searched: tuple[Path, Path, Any]) -> None:
    """On the data and the device of the search, whatever the environment says by then."""
    (desk.folder / "my data").mkdir()
    answer = desk("tune", "item-knn", "./walks", "--trials", "2", *CPU, "--data-dir", "my data", "--json")
    assert answer.code == 0, answer.stderr
    name, *words = shlex.split(answer.json["command"])
    assert name == "recbench"
    options = dict(zip(words[1::2], words[2::2], strict=True))
    config = f"{searched[2]['folder']}/best.toml"
    assert options == {
        "--model": "item-knn",
        "--dataset": "./walks",
        "--preset": "uniform",
        "--seed": "0",
        "--device": "cpu",
        "--threads": "1",
        "--data-dir": "my data",
        "--config": config,
    }
    assert answer.json["command"] in (desk.folder / config).read_text()
    done = desk(*words, "--json")
    assert done.code == 0, done.stderr
    assert done.json["record"]["tuned"] is not None


def test_more_trials_are_added_and_the_best_settings_are_recognised_in_a_run(desk: Any, searched: tuple[Path, Path, Any]) -> None:
    before = searched[2]
    answer = desk("tune", "item-knn", "./walks", "--trials", "3", *CPU)
    assert answer.code == 0, answer.stderr
    assert "against trial 0" in answer.stdout
    assert "trial 0 is the preset " in answer.stdout
    folder = desk.folder / before["folder"]
    log = json.loads((folder / "trials.json").read_text())
    assert log["trials"][:2] == before["trials"]
    best = max(log["trials"], key=lambda trial: trial["score"])
    command = answer.stdout.splitlines()[-1].removeprefix("run it: recbench ")

    done = desk(*command.split(), "--json")
    assert done.code == 0, done.stderr
    record = done.json["record"]
    assert record["tuned"] == {
        "trials": 3,
        "trial": best["trial"],
        "score": best["score"],
        "dataset": "walks",
        "valid": record["fingerprints"]["valid"],
        "budget": None,
        "sampler": "random",
        "pruned": None,
    }
    assert record["config"] == best["config"]
    assert next(stage for stage in record["stages"] if stage["name"] == "training-item-knn")["reused"]
    run = StoredRun.open(desk.folder / done.json["folder"])
    assert badge_of(run.record, None) == "tuned-3"
    assert (run.folder / "tune.json").read_bytes() == (folder / "trials.json").read_bytes()
    assert f"trial {best['trial']} of 3 of a search on walks" in desk("show", done.json["run"]).stdout

    # The preset is the search's where nobody names one; other settings claim nothing.
    config = folder / "best.toml"
    assert not desk("run", "-m", "item-knn", "-d", "./walks", "--config", config, "--json").json["is_new"]
    other = desk("run", "-m", "item-knn", "-d", "./walks", "--config", config, "--set", "neighbours=7", "--json")
    assert other.json["record"]["tuned"] is None
    assert "will not be marked as tuned" in other.stderr


def test_settings_whose_log_was_edited_or_lost_are_refused(desk: Any, searched: tuple[Path, Path, Any]) -> None:
    folder = desk.folder / searched[2]["folder"]
    run = ("run", "-m", "item-knn", "-d", "./walks", "--config", folder / "best.toml")
    log, text = folder / "trials.json", (folder / "best.toml").read_text()
    desk("run", "-m", "ease", "-d", "./walks", "--config", folder / "best.toml").refuses("'item-knn'", "'ease'")
    (folder / "best.toml").write_text(text.replace("[tune]", "[tune]\ntrails = 1"))
    desk(*run).refuses("best.toml", "no key 'trails'", "Did you mean 'trials'?")
    (folder / "best.toml").write_text(text.replace("trials.json", "../trials.json"))
    desk(*run).refuses("best.toml", "../trials.json")
    (folder / "best.toml").write_text(text)
    content = log.read_text()
    log.write_text(content.replace('"trial": 0', '"trial": 9'))
    desk(*run).refuses("the sha256 of trials.json", "Restore both files")
    log.write_text("{")
    desk(*run).refuses("trials.json", "not valid JSON")
    log.unlink()
    desk(*run).refuses("trials.json", "no such log")
    assert not list(desk.folder.glob("runs/*/record.json"))


def test_a_tuned_run_is_published_with_its_trials_and_marked(desk: Any, searched: tuple[Path, Path, Any]) -> None:
    for name in ("walks", "strolls"):
        assert desk("run", "-m", "item-knn", "-d", f"./{name}", "--config", searched[2]["config"]).code == 0
    assert desk("leaderboard", "publish").code == 0
    assert desk("verify").code == 0
    boards = desk.folder / "leaderboards"
    assert "| tuned-2; " in (boards / "walks.md").read_text()
    assert "| tuned-2 on walks; " in (boards / "strolls.md").read_text()
    log = next((boards / "records").glob("walks-*/tune.json"))
    again = desk("reproduce", log.parent, "--dataset", "./walks", "--json").json
    assert again["is_exact"]
    repeated, published = (StoredRun.open(folder).record for folder in (desk.folder / again["folder"], log.parent))
    assert repeated.tuned == published.tuned is not None
    log.write_text(log.read_text().replace('"trial": 1', '"trial": 5'))
    done = desk("verify")
    assert done.code == 1
    assert "tune.json" in done.stderr


@pytest.mark.parametrize(("claim", "words"), [({"trials": 20}, "of 20"), ({}, "its settings are not those of trial")])
def test_a_claim_that_the_log_does_not_bear_out_is_found(
    desk: Any, searched: tuple[Path, Path, Any], claim: Any, words: str, reseal: Any
) -> None:
    made = desk("run", "-m", "item-knn", "-d", "./walks", "--config", searched[2]["config"], "--json").json
    path = desk.folder / made["folder"] / "record.json"
    record = json.loads(path.read_text())
    record["tuned"] |= claim
    record["config"] |= {} if claim else {"decay": 0.123}
    path.write_text(reseal(json.dumps(record)))
    done = desk("leaderboard", "publish")
    assert done.code == 1
    assert f"not published: {path.parent.name}" in done.stderr
    assert words in done.stderr


def test_a_trial_that_fails_stops_no_other(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    fit = f"if self.width == 4: raise ValueError('too narrow')\n        {GOOD}"
    folder = write_plugin("odd", init=INIT.replace("{fit}", fit), card_part=SPACE)
    recbench("tune", "odd", "demo", "--trials", "1", "--plugin", folder, *CPU).refuses("All 1 trials failed", "too narrow", code=1)
    found = tuned(recbench, "odd", "demo", "--plugin", folder, "--jobs", "2")
    assert [trial["state"] for trial in found["trials"]] == ["failed", "done"]
    assert "too narrow" in found["trials"][0]["reason"]
    assert found["best"]["trial"] == 1
    assert found["best"]["measured_by"] == "training"


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    fit = """
        place = context.checkpoints / "step"
        done = int(place.read_text()) if place.exists() else 0
        if not done:
            place.write_text("17")
            if self.width != 4: time.sleep(60)
        return FitReport(steps=done, chosen={"ndcg@10": self.width / 1e5})"""
    plugin = write_plugin("slow", init=INIT.replace("{fit}", fit.strip()), card_part=SPACE)
    arguments = ["tune", "slow", "demo", "--trials", "2", "--plugin", str(plugin), *CPU]
    command = [sys.executable, "-P", "-m", "recbench", *arguments]
    process = subprocess.Popen(command, cwd=recbench.folder, stderr=subprocess.PIPE, text=True)
    partial = recbench.home / "stages" / "partial"
    deadline = time.monotonic() + 120
    # Trial 0 is done and trial 1 has its checkpoint.
    while not (list(recbench.folder.glob("runs/tune/*/trials.json")) and list(partial.glob("training-slow-*/step"))):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "The same command goes on" in said
    log = json.loads(next(recbench.folder.glob("runs/tune/*/trials.json")).read_text())
    assert [trial["trial"] for trial in log["trials"]] == [0]
    assert list(recbench.folder.glob("runs/tune/*/best.toml")) == []

    found = recbench(*arguments, "--json").json
    assert found["trials"][0] == log["trials"][0]
    assert [trial["steps"] for trial in found["trials"]] == [0, 17]
    assert recbench.half_written() == []


def test_what_a_trial_draws_follows_from_model_range_seed_and_number() -> None:
    width, rate = Dimension(integers=(1, 1000)), Dimension(log_uniform=(1e-4, 1e-1))
    small, large = (TuneCard(preset="p", space=space) for space in ({"width": width}, {"rate": rate, "width": width}))
    assert small.draw("m", 0, 0) == {}
    assert small.draw("m", 0, 5)["width"] == large.draw("m", 0, 5)["width"]
    drawn = [large.draw("m", 0, trial) for trial in range(1, 200)]
    assert len({values["width"] for values in drawn}) > 150
    assert sum(values["rate"] < 10**-2.5 for values in drawn) == pytest.approx(100, abs=30)
    assert all(1e-4 <= values["rate"] <= 1e-1 and float(f"{values['rate']:.4g}") == values["rate"] for values in drawn)
    others = [large.draw(*key) for key in (("m", 1, 5), ("n", 0, 5), ("m", 0, 6))]
    assert drawn[4] not in others


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "at least 1"),
        ({"width": {}}, "given: none"),
        ({"width": {"choices": [1, 2], "integers": [1, 2]}}, "given: choices, integers"),
        ({"width": {"chioces": [1, 2]}}, "chioces"),
        ({"width": {"choices": [1]}}, "at least 2"),
        ({"width": {"choices": [1, 1]}}, "names a value twice"),
        ({"width": {"integers": [3, 3]}}, "the second must be larger"),
        ({"width": {"integers": [1.5, 3]}}, "integers"),
        ({"rate": {"log_uniform": [0.0, 1.0]}}, "above 0"),
    ],
)
def test_a_space_is_strict(space: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TuneCard(preset="p", space=space)
    with pytest.raises(ValueError, match="'q' is named but not defined"):
        ModelCard.model_validate(
            {"name": "m", "title": "t", "summary": "s", "family": "scoring", "presets": {"p": {}}, "default": {"cpu": "p", "cuda": "p"}}
            | {"tune": {"preset": "q", "space": {"width": {"choices": [1, 2]}}}}
        )


@pytest.mark.parametrize("name", registry.models().names())
def test_the_space_of_every_card_fits_its_settings(name: str) -> None:
    plugin = registry.models().load(name)
    if plugin.card.tune is None:
        with pytest.raises(BadConfig, match="no space to search"):
            plugin.trial(0, 0, "default")
        return
    preset = plugin.card.tune.preset
    assert plugin.trial(0, 0, preset)[1] == plugin.resolve(preset)
    for trial in range(1, 40):
        values, config = plugin.trial(trial, 0, preset)
        found = by_dotted_name(config.model_dump())
        assert {key: found[key] for key in values} == values


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("popularity", "demo"), ("card of 'popularity'", "no space")),
        (("item-nkk", "demo"), ("'item-nkk'", "Did you mean 'item-knn'?")),
        (("item-knn", "dmo"), ("'dmo'", "Did you mean 'demo'?")),
        (("item-knn", "demo", "--preset", "unifrom"), ("'unifrom'", "Did you mean 'uniform'?")),
        (("item-knn", "demo", "--budget", "soon"), ("--budget 'soon'", "20m")),
        (("item-knn", "demo", "--ties", "heads"), ("heads", "shuffle=")),
        (("item-knn", "demo", "--device", "tpu"), ("--device 'tpu'",)),
    ],
)
def test_an_impossible_search_writes_nothing(recbench: Any, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    before = recbench.listing()
    recbench("tune", *arguments).refuses(*words)
    assert recbench.listing() == before
