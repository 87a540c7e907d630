"""A comparison on a cluster of ray that loses a machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'ray>=2.40'")

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
import os, time
from pathlib import Path
import numpy as np
from recbench.core import FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    notes: Path = Path('.')
    '''Folder where every attempt leaves a file.'''
    steps: int = 25

class Model:
    def __init__(self, config, catalogue):
        self.config, self.n_items = config, catalogue.n_items
    def fit(self, context):
        (self.config.notes / f'{context.seed}-{os.getpid()}').touch()
        with context.progress.task('walking', self.config.steps) as task:
            for _ in range(self.config.steps):
                time.sleep(0.1)
                task.advance()
        if context.seed == 2:
            raise RuntimeError('a stone in the way')
        return FitReport()
    def generate(self, queries, k):
        items = np.full((len(queries.views), len(queries), k), -1, dtype=np.int32)
        for row in range(len(queries)):
            for v, view in enumerate(queries.views):
                history = set(queries.histories[row].tolist()) if view == 'unseen' else set()
                items[v, row] = [item for item in range(self.n_items) if item not in history][:k]
        return Rankings(queries.views, items, -items.astype(np.float32))
    def save(self, folder):
        (folder / 'model.json').write_text('{}')
    def load(self, folder):
        pass

PLUGIN = Plugin.from_folder(__file__, Config, Model)
"""


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster of two machines with one processor each, both of them this machine."""
    from ray.cluster_utils import Cluster

    about = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    # A machine that is gone is noticed within five seconds; one that is only busy must not count as gone.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    cluster = Cluster(initialize_head=True, head_node_args={**about, "_system_config": quick})
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_cells_of_a_lost_machine_run_again_and_every_record_is_there_once(cluster: Any, tmp_path: Path) -> None:
    lost = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    plugin, notes = tmp_path / "walker", tmp_path / "notes"
    plugin.mkdir()
    notes.mkdir()
    (plugin / "card.toml").write_text(CARD)
    (plugin / "__init__.py").write_text(INIT)
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "RECBENCH_HOME": str(tmp_path / "home")}
    words = ["compare", "-m", "walker", "-d", "demo", "--seeds", "3", "--executor", "ray", "--plugin", "walker", "--json"]
    command = [sys.executable, "-P", "-m", "recbench", *words, "--set", f"notes={notes}"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while len(list(notes.iterdir())) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)
        stdout, stderr = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 1, stderr

    attempts = [tuple(map(int, note.name.split("-"))) for note in notes.iterdir()]
    assert sorted(seed for seed, _ in attempts) in ([0, 0, 1, 2], [0, 1, 1, 2]), "the lost cell alone runs again, once"
    assert not [pid for _, pid in attempts if psutil.pid_exists(pid)], "a cell of the lost machine went on"
    cells = json.loads(stdout)["cells"]
    assert [cell["state"] for cell in cells] == ["done", "done", "failed"]
    assert "a stone in the way" in cells[2]["reason"]
    # Hidden files count: nothing half-written is left.
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name.split("-")[3] for run in runs] == ["s0", "s1", "s2"]
    assert [tmp_path / cell["folder"] for cell in cells[:2]] == runs[:2]
    for seed, run in enumerate(runs[:2]):
        record = json.loads((run / "record.json").read_text())
        assert record["seed"] == seed
        assert record["device"]["jobs"] == 1
