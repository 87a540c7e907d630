"""A comparison on a cluster of ray that loses a machine, and a search on one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [
    # Looked for and not imported, which takes seconds in every process that collects tests.
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'genrecbench[ray]'"),
    # A cluster is a dozen processes, which start one after the other on a busy machine.
    pytest.mark.timeout(900),
]

WALKER = Path(__file__).parents[1] / "walker"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster of two machines with one processor each, both of them this machine."""
    from ray.cluster_utils import Cluster

    about = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    # A machine that is gone is noticed within fifteen seconds; one that is only busy, as beside four busy loops, must not count as gone.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 15}
    # Ray gives its workers the lowest priority, which leaves them nothing beside busy loops.
    quick["worker_niceness"] = 0
    cluster = Cluster(initialize_head=True, head_node_args={**about, "_system_config": quick})
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_cells_of_a_lost_machine_run_again_and_every_record_is_there_once(cluster: Any, tmp_path: Path) -> None:
    lost = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "RECBENCH_HOME": str(tmp_path / "home")}
    words = ["compare", "-m", "walker", "-d", "demo", "--seeds", "3", "--executor", "ray", "--plugin", str(WALKER), "--json"]
    command = [
        sys.executable,
        "-P",
        "-m",
        "recbench",
        *words,
        "--set",
        f"notes={notes}",
        "--set",
        f"gate={tmp_path / 'gate'}",
        "--set",
        "stumbles_with_seed=2",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while len(list(notes.iterdir())) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        # Both wait at the gate, however busy the machine is.
        cluster.remove_node(lost, allow_graceful=False)
        (tmp_path / "gate").touch()
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


@pytest.mark.slow
def test_a_search_runs_on_the_cluster_and_keeps_every_trial(cluster: Any, tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "RECBENCH_HOME": str(tmp_path / "home")}
    words = ["tune", "item-knn", "demo", "--trials", "2", "--executor", "ray", "--device", "cpu", "--json"]
    command = [sys.executable, "-P", "-m", "recbench", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [trial["state"] for trial in found["trials"]] == ["done", "done"]
    log = json.loads((tmp_path / found["folder"] / "trials.json").read_text())
    assert (log["device"], log["threads"], log["jobs"]) == ("cpu", 1, 1)
    assert log["trials"] == found["trials"]
