"""`recbench tune --sampler` and `--prune`: grids, settings that follow from earlier trials, trials that are stopped, and their journal."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadRequest
from recbench.core.tuning import Dimension, TuneCard, TuneLog, read_tune_log
from recbench.running.many import study
from tests.cli.plugin_parts import SAME_LIST_FOR_ALL

optuna = pytest.importorskip("optuna", reason="optuna is not installed: pip install 'genrecbench[tune]'")
CPU = ("--device", "cpu", "--threads", "1")
KEPT = ("--seen", "keep", "--json")
SPACE = """
[tune]
preset = "default"
[tune.space]
width = { integers = [1, 1000] }
depth = { choices = [1, 2, 3] }
"""
INIT = (
    """
import os
import time
import numpy as np
from recbench.core import CurvePoint, FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    width: int = 4
    '''Decides how good it is.'''
    depth: int = 2
    '''Decides nothing.'''

class Model:
    def __init__(self, config, catalogue):
        self.width, self.depth, self.n_items = config.width, config.depth, catalogue.n_items
    def fit(self, context):
        {fit}
"""
    + SAME_LIST_FOR_ALL
)
QUICK = 'return FitReport(steps=self.width, chosen={"ndcg@10": self.width / 1e5})'
VALIDATING = """
        curve = []
        for n in range(1, 4):
            value = n * self.width / 1e5
            curve.append(CurvePoint(n, float(n), 0.1, validation={"ndcg@10": value}, training="training"))
            context.note(curve[-1], examples=n, validations=n)
        return FitReport(steps=3, epochs=3.0, curve=curve, chosen={"ndcg@10": value})"""


def answer(done: Any) -> Any:
    """What a command that went well printed as JSON."""
    assert done.code == 0, done.stderr
    return done.json


def plugin(write_plugin: Callable[..., Path], fit: str = QUICK) -> Path:
    return write_plugin("odd", init=INIT.replace("{fit}", fit.strip()), card_part=SPACE)


@pytest.mark.slow
def test_a_search_that_asks_earlier_trials_repeats_itself_and_goes_on(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    command = ("tune", "odd", "demo", "--sampler", "tpe", "--plugin", plugin(write_plugin), *CPU, "--json")
    first = answer(recbench(*command, "--trials", "13"))
    widths = [trial["values"].get("width") for trial in first["trials"]]
    assert widths[0] is None
    assert len(set(widths[1:])) > 6
    folder = recbench.folder / first["folder"]
    log, _ = read_tune_log(folder / "trials.json")
    assert (log.schema_version, log.sampler, log.prunes) == (3, "tpe", False)
    assert all(json.loads(line)["op_code"] >= 0 for line in (folder / "journal.jsonl").read_text().splitlines())
    # After ten trials it goes where figures were high.
    assert min(widths[11:]) > sorted(widths[1:11])[4]

    folder.rename(folder.with_name("aside"))
    short = answer(recbench(*command, "--trials", "4"))
    assert [trial["values"] for trial in short["trials"]] == [trial["values"] for trial in first["trials"][:4]]
    # A search that was ended in between makes the same trials as one that ran through.
    again = answer(recbench(*command, "--trials", "13"))
    assert [trial["config"] for trial in again["trials"]] == [trial["config"] for trial in first["trials"]]

    run = answer(recbench("run", "-m", "odd", "-d", "demo", "--plugin", command[6], "--config", again["config"], *KEPT))
    assert run["record"]["tuned"]["sampler"] == "tpe"
    assert "of 13 of a tpe search on demo" in recbench("show", run["run"], "--plugin", command[6]).stdout


def test_a_trial_that_fails_is_made_once_more_with_its_settings(
    recbench: Any, write_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = f"""
        if self.width != 4 and "OUT_OF_LUCK" in os.environ: raise ValueError("no luck")
        {QUICK}"""
    command = ("tune", "odd", "demo", "--sampler", "tpe", "--trials", "3", "--plugin", plugin(write_plugin, fit), *CPU, "--json")
    monkeypatch.setenv("OUT_OF_LUCK", "1")
    first = answer(recbench(*command))
    monkeypatch.delenv("OUT_OF_LUCK")
    assert [trial["state"] for trial in first["trials"]] == ["done", "failed", "failed"]
    second = answer(recbench(*command))
    assert [trial["state"] for trial in second["trials"]] == ["done"] * 3
    assert [trial["values"] for trial in second["trials"]] == [trial["values"] for trial in first["trials"]]


@pytest.mark.parametrize("damage", ["torn", "no json", "no entry", "nonsense", "of another", "lost"])
def test_a_journal_that_is_not_of_this_search_is_refused(recbench: Any, write_plugin: Callable[..., Path], damage: str) -> None:
    command = ("tune", "odd", "demo", "--sampler", "tpe", "--trials", "2", "--plugin", plugin(write_plugin), *CPU)
    found = answer(recbench(*command, "--json"))
    journal = recbench.folder / found["folder"] / "journal.jsonl"
    content = journal.read_bytes()
    if damage == "torn":  # by a machine that lost power; nobody was told of that line
        journal.write_bytes(content + b'{"op_code":4,"wor')
        assert answer(recbench(*command, "--json"))["trials"] == found["trials"]
        assert journal.read_bytes() == content
        return
    if damage == "lost":
        journal.unlink()
        recbench(*command).refuses("journal.jsonl lacks trial 0", "another --seed")
        return
    lines = {"no json": b"{\n", "no entry": b"[1]\n", "nonsense": b'{"op_code":6}\n'}
    if damage == "of another":
        journal.write_bytes(content.replace(journal.parent.name.encode(), b"other"))
        recbench(*command).refuses("is the journal of another search, 'other'", "Put back")
    else:
        journal.write_bytes(content + lines[damage])
        recbench(*command).refuses("journal.jsonl is damaged", "Restore the file")


KILLED_WHILE_WRITING = """
import os
from pathlib import Path
from recbench.running.many.study import JOURNAL_FILE, Study

study = Study(Path(JOURNAL_FILE), "search")
os.fsync = lambda _: os._exit(9)
study.begin(0)
"""


def test_a_lock_of_a_killed_process_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the command names its journal by a relative path
    monkeypatch.setattr(study, "_STALE_LOCK_S", 3)
    killed = subprocess.run([sys.executable, "-P", "-c", KILLED_WHILE_WRITING], check=False)
    assert killed.returncode == 9
    assert os.path.lexists(f"{study.JOURNAL_FILE}.lock")
    opened = study.Study(Path(study.JOURNAL_FILE), "search")
    beginning = threading.Thread(target=opened.begin, args=(1,), daemon=True)
    beginning.start()
    beginning.join(timeout=30)
    assert not beginning.is_alive()
    assert opened.latest(1) is not None


@pytest.mark.slow
def test_trials_below_the_median_are_stopped_and_counted(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    folder = plugin(write_plugin, VALIDATING)
    command = ("tune", "odd", "demo", "--trials", "12", "--prune", "--plugin", folder, *CPU)
    done = recbench(*command)
    assert done.code == 0, done.stderr
    found = answer(recbench(*command, "--json"))
    pruned = [trial for trial in found["trials"] if trial["state"] == "pruned"]
    assert pruned
    assert f"best of 12 trials, {len(pruned)} pruned by" in done.stdout
    # Five trials run to their end before one is compared with them.
    assert min(trial["trial"] for trial in pruned) > 4
    for trial in pruned:
        before = [other for other in found["trials"][: trial["trial"]] if other["state"] == "done"]
        middle = sorted(other["values"].get("width", 4) for other in before)[len(before) // 2]
        assert trial["values"]["width"] <= middle
        assert (trial["steps"], trial["stopped_by"], trial["score"]) == (1, "pruned", None)
        assert "Pruned at validation 1 of training" in trial["reason"]
        assert trial["train_cpu_s"] >= 0
    assert not list((recbench.home / "stages" / "partial").glob("training-odd-*"))

    record = answer(recbench("run", "-m", "odd", "-d", "demo", "--plugin", folder, "--config", found["config"], *KEPT))["record"]
    assert (record["tuned"]["trials"], record["tuned"]["pruned"]) == (12, len(pruned))

    # Trainings that the cache holds report what they had come to: the search is the same.
    path = recbench.folder / found["folder"]
    path.rename(path.with_name("aside"))
    again = answer(recbench(*command, "--json"))
    assert [(trial["state"], trial["values"]) for trial in again["trials"]] == [
        (trial["state"], trial["values"]) for trial in found["trials"]
    ]


def test_a_search_that_was_killed_goes_on_with_the_settings_that_it_had(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    fit = """
        place = context.checkpoints / "width"
        if not place.exists():
            place.write_text(str(self.width))
            if self.width != 4: time.sleep(60)
        return FitReport(steps=int(place.read_text()), chosen={"ndcg@10": self.width / 1e5})"""
    arguments = ["tune", "odd", "demo", "--trials", "2", "--sampler", "tpe", "--plugin", str(plugin(write_plugin, fit)), *CPU]
    process = subprocess.Popen([sys.executable, "-P", "-m", "recbench", *arguments], cwd=recbench.folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    partial = recbench.home / "stages" / "partial"
    while not (list(recbench.folder.glob("runs/tune/*/trials.json")) and list(partial.glob("training-odd-*/width"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    width = int(next(partial.glob("training-odd-*/width")).read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    # What it had started ends by itself, in good order.
    while (done := recbench(*arguments, "--json")).code == 2 and "Another process is at work" in done.stderr:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = answer(done)
    assert [trial["steps"] for trial in found["trials"]] == [4, width]
    assert found["trials"][1]["values"]["width"] == width


def test_a_grid_has_every_point_once_in_an_order_of_its_own(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    command = ("tune", "odd", "demo", "--sampler", "grid", "--plugin", plugin(write_plugin), *CPU)
    found = answer(recbench(*command, "--trials", "10", "--json"))
    points = {(trial["values"]["width"], trial["values"]["depth"]) for trial in found["trials"][1:]}
    assert points == {(width, depth) for width in (1, 500, 1000) for depth in (1, 2, 3)}
    assert found["best"]["values"]["width"] == 1000
    recbench(*command, "--trials", "11").refuses("--trials 11", "has 10 settings", "--trials 10")
    recbench("tune", "odd", "demo", "--sampler", "gird", "--plugin", command[6]).refuses("'gird'", "Did you mean 'grid'?")


def test_points_of_ranges_are_their_ends_and_their_middle() -> None:
    assert Dimension(integers=(2, 3)).points() == (2, 3)
    assert Dimension(uniform=(0.0, 0.5)).points() == (0.0, 0.25, 0.5)
    assert Dimension(log_uniform=(1e-4, 1e-2)).points() == (1e-4, 1e-3, 1e-2)
    wide = TuneCard(preset="p", space={f"x{number}": Dimension(uniform=(0.0, 1.0)) for number in range(13)})
    with pytest.raises(BadRequest, match="1,594,323 points"):
        next(wide.grid("m", 0))


def test_a_random_search_is_written_as_before() -> None:
    log = TuneLog(
        model="m", source_hash="", dataset="d", preset="p", seed=0, budget=None, metric="ndcg@10", space={}, protocol="", ties="",
        train="", valid="", device="cpu", threads=1, jobs=1,
        trials=({"trial": 0, "state": "done", "values": {}, "config": {}},),  # type: ignore[arg-type]
    )  # fmt: skip
    assert not {"sampler", "prunes", "train_cpu_s"} & set(json.dumps(json.loads(log.to_json())).replace('"', " ").split())
    assert json.loads(log.to_json())["schema_version"] == 2
