"""A comparison on this machine: what its cells tell while they run, and that no worker outlives whoever wanted it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recbench.core.records import read_record
from recbench.running.host.workplace import Workplace
from recbench.running.many.compare import compare_request
from recbench.running.many.executors.local import LocalExecutor
from recbench.running.many.executors.process import WorkerProcess
from recbench.running.many.worker import Job, request_to_json
from recbench.running.requests import Cell, CompareRequest, RunRequest
from recbench.running.run.execute import run_request

WALKER = Path(__file__).parents[1] / "walker"


@pytest.fixture
def workplace(tmp_path: Path, demo_home: Path) -> Workplace:
    return Workplace(demo_home, None, tmp_path / "runs", tmp_path / "leaderboards")


@pytest.mark.slow
def test_cells_tell_their_time_left_keep_the_budget_and_run_once(workplace: Workplace) -> None:
    seen: list[list[Cell]] = []
    request = CompareRequest(("walker",), ("demo",), seeds=2, jobs=2, budget="1000examples", plugins=(WALKER,), overrides={"steps": 20})
    cells = compare_request(request, workplace, seen.append)
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
    again = compare_request(request, workplace, seen.append)
    assert [cell.folder for cell in again] == [cell.folder for cell in cells]
    assert not any(cell.is_new for cell in again)


def test_cells_that_stand_are_told_before_a_worker_is_started(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_request(RunRequest("popularity", "demo", threads=1), workplace)
    assert made is not None
    started: list[RunRequest] = []

    def start(self: LocalExecutor, request: RunRequest, job: Job) -> WorkerProcess:
        started.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, "start", start)
    seen: list[list[Cell]] = []
    (cell,) = compare_request(CompareRequest(("popularity",), ("demo",)), workplace, seen.append)
    assert (cell.state, cell.folder, cell.is_new, started) == ("done", made.folder, False, [])
    assert seen == [[cell]]
    # Another seed, another setting, and a run whose record is gone are no answer.
    with pytest.raises(KeyboardInterrupt):
        compare_request(CompareRequest(("popularity",), ("demo",), seeds=2), workplace, seen.append)
    assert [[cell.state for cell in state] for state in seen[1:]] == [["done", "waiting"]]
    with pytest.raises(KeyboardInterrupt):
        compare_request(CompareRequest(("popularity",), ("demo",), protocol="temporal:quantile=0.9"), workplace, seen.append)
    (made.folder / "record.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        compare_request(CompareRequest(("popularity",), ("demo",)), workplace, seen.append)
    assert [(request.seed, request.protocol) for request in started] == [(1, None), (0, "temporal:quantile=0.9"), (0, None)]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["run", "trial"])
def test_a_worker_ends_with_whoever_wanted_it(workplace: Workplace, job: Job) -> None:
    """Its parent is killed without a chance to say so: the pipe to the worker closes."""
    request = RunRequest("walker", "demo", plugins=(WALKER,), overrides={"steps": 600}, threads=1)
    command = [sys.executable, "-P", "-m", "recbench.running.many.worker"]
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
        process.stdin.write(json.dumps(request_to_json(request, workplace, job)) + "\n")
        process.stdin.flush()
        while '"walking"' not in process.stdout.readline():
            assert child.is_running()
        process.kill()
        deadline = time.monotonic() + 60
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the worker went on"
            time.sleep(0.05)
    assert not list(workplace.runs.glob("*"))
