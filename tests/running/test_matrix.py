"""A comparison on this machine: what its cells tell while they run, and that none outlives whoever wanted it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recbench.core.records import read_record
from recbench.running.api import Cell, CompareRequest, RunRequest
from recbench.running.matrix import compare_request
from recbench.running.places import Places
from recbench.running.worker import request_to_json

CARD = """
name = "walker"
title = "A model that takes its time"
summary = "Made by a test"
family = "scoring"
[presets.default]
[default]
cpu = "default"
cuda = "default"
"""

INIT = """
import time
import numpy as np
from recbench.core import FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    steps: int = 20
    '''Tenths of a second.'''

class Model:
    def __init__(self, config, catalogue):
        self.config, self.n_items = config, catalogue.n_items
    def fit(self, context):
        print('what a model prints is no event')
        with context.progress.task('walking', self.config.steps) as task:
            for step in range(self.config.steps):
                if context.budget.is_spent(steps=step, examples=100 * step):
                    return FitReport(steps=step, stopped_by='budget')
                time.sleep(0.1)
                task.advance()
        return FitReport(steps=self.config.steps)
    def generate(self, queries, k):
        items = np.tile(np.arange(k, dtype=np.int32), (len(queries.views), len(queries), 1))
        for row in range(len(queries)):
            history = set(queries.histories[row].tolist())
            items[queries.views.index('unseen'), row] = [item for item in range(self.n_items) if item not in history][:k]
        return Rankings(queries.views, items, -items.astype(np.float32))
    def save(self, folder):
        (folder / 'model.json').write_text('{}')
    def load(self, folder):
        pass

PLUGIN = Plugin.from_folder(__file__, Config, Model)
"""


@pytest.fixture
def walker(tmp_path: Path) -> Path:
    folder = tmp_path / "walker"
    folder.mkdir()
    (folder / "card.toml").write_text(CARD)
    (folder / "__init__.py").write_text(INIT)
    return folder


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")


@pytest.mark.slow
def test_cells_tell_their_time_left_keep_the_budget_and_run_once(walker: Path, places: Places) -> None:
    seen: list[list[Cell]] = []
    request = CompareRequest(("walker",), ("demo",), seeds=2, jobs=2, budget="1000examples", plugins=(walker,), overrides={"steps": 20})
    cells = compare_request(request, places, seen.append)
    assert [cell.state for cell in cells] == ["done", "done"], cells
    assert all(cell.is_new for cell in cells)
    walking = [cell for state in seen for cell in state if cell.reason == "walking" and cell.left_s is not None]
    assert {cell.seed for cell in walking} == {0, 1}
    assert all(cell.state == "running" and 0 <= cell.left_s <= 30 for cell in walking if cell.left_s is not None)
    for cell in cells:
        assert cell.folder is not None
        record = read_record(cell.folder / "record.json")
        assert (record.budget, record.fit.steps, record.fit.stopped_by) == ("1000examples", 10, "budget")
        assert record.device.jobs == 2
    again = compare_request(request, places, seen.append)
    assert [cell.folder for cell in again] == [cell.folder for cell in cells]
    assert not any(cell.is_new for cell in again)


@pytest.mark.slow
def test_a_cell_ends_with_whoever_wanted_it(walker: Path, places: Places) -> None:
    """Its parent is killed without a chance to say so: the pipe to the cell closes."""
    request = RunRequest("walker", "demo", plugins=(walker,), overrides={"steps": 600}, threads=1)
    command = [sys.executable, "-P", "-m", "recbench.running.worker"]
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command!r}, stdin=subprocess.PIPE, text=True)\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "child.stdin.write(sys.stdin.readline())\n"
        "child.stdin.flush()\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdin, process.stdout, process.stderr:
        child = psutil.Process(int(process.stderr.readline()))
        process.stdin.write(json.dumps(request_to_json(request, places)) + "\n")
        process.stdin.flush()
        while '"walking"' not in process.stdout.readline():
            assert child.is_running()
        process.kill()
        deadline = time.monotonic() + 60
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the cell went on"
            time.sleep(0.05)
    assert not list(places.runs.glob("*"))
