"""A run that is killed, stopped or short of time, seen from the command line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import recbench.evaluation as evaluation

pytestmark = pytest.mark.slow

_COMMAND = [sys.executable, "-P", "-m", "recbench"]
_TRAIN = [*_COMMAND, "run", "-m", "sasrec", "-d", "demo", "--preset", "smoke", "--threads", "1"]
_STEPS = 120
_LONG = [
    "--set",
    f"training.max_steps={_STEPS}",
    "--set",
    "training.max_epochs=200",
    "--set",
    "training.checkpoint_every_s=0.1",
    "--set",
    "training.validate_every_epochs=5",
]


def _environment(home: Path) -> dict[str, str]:
    # Counting lines for coverage would take seconds of the budget.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return {**plain, "RECBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}


def _start(folder: Path, *options: str, home: str = "home") -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*_TRAIN, *options], cwd=folder, env=_environment(folder / home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _record(folder: Path) -> dict[str, object]:
    (record,) = folder.glob("runs/*/record.json")
    return json.loads(record.read_text())


def _ranks(folder: Path) -> evaluation.RankTable:
    (ranks,) = folder.glob("runs/*/ranks.parquet")
    return evaluation.read_ranks(ranks)


def _wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob("home/stages/partial/*/*/0*/manifest.json")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _assert_same_ranks(a: Path, b: Path) -> None:
    first, second = _ranks(a), _ranks(b)
    for view in ("keep", "unseen"):
        np.testing.assert_array_equal(first.rank[view], second.rank[view])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, demo_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(demo_cache, folder / "home")
    process = _start(folder, *_LONG)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("demo_home")
def test_the_same_command_goes_on_after_a_stop_and_ends_with_the_same_ranks(tmp_path: Path, whole: Path, how: signal.Signals) -> None:
    process = _start(tmp_path, *_LONG)
    _wait_for_checkpoint(tmp_path, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    if how is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert "same command" in " ".join(errors.split())
        assert not list(tmp_path.glob("runs/*"))
    again = _start(tmp_path, *_LONG)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    resumed = re.search(r"resumed at step (\d+)", errors)
    assert resumed is not None, errors
    record = _record(tmp_path)
    assert 0 < int(resumed[1]) < _STEPS
    assert record["fit"]["steps"] == _STEPS
    assert record["fit"]["resumed_at"] == int(resumed[1])
    _assert_same_ranks(tmp_path, whole)
    # What the first attempt cost is not forgotten.
    assert record["cost"]["train_s"] > 0


def test_a_budget_of_seconds_is_kept_and_leaves_a_valid_record(tmp_path: Path) -> None:
    endless = ["--set", "training.max_steps=1000000", "--set", "training.max_epochs=1000000"]
    taken = {}
    # What else runs on the machine may take the processor away just when the run has to end: it then gets a longer one.
    for seconds in (8, 16, 48):
        folder = tmp_path / str(seconds)
        start = time.monotonic()
        process = _start(folder, *endless, "--budget", f"{seconds}s")
        _, errors = process.communicate(timeout=200)
        taken[seconds] = time.monotonic() - start
        if seconds < 48 and "cannot train one pass" in errors:
            continue  # the machine was so busy that starting took the budget
        assert process.returncode == 0, errors
        record = _record(folder)
        assert record["fit"]["stopped_by"] == "budget"
        assert record["budget"] == f"{seconds}s"
        if abs(taken[seconds] - seconds) <= seconds / 4:
            return
    pytest.fail(f"seconds taken by budget: {taken}")


@pytest.mark.usefixtures("demo_home")
def test_two_processes_of_torchrun_train_one_model_and_write_one_record(tmp_path: Path, whole: Path) -> None:
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "recbench", *_TRAIN[4:]]
    done = subprocess.run(
        [*command, *_LONG], cwd=tmp_path, env=_environment(tmp_path / "home"), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    record, alone = _record(tmp_path), _record(whole)
    assert record["device"]["world_size"] == 2
    assert record["fit"]["steps"] == alone["fit"]["steps"]
    assert record["fit"]["examples_seen"] == alone["fit"]["examples_seen"]
    # Dropout draws other numbers per process, so the models differ a little; the quality must not.
    assert abs(record["metrics"]["keep"]["ndcg@10"]["value"] - alone["metrics"]["keep"]["ndcg@10"]["value"]) < 0.05


@pytest.mark.usefixtures("demo_home")
def test_a_model_that_shares_no_work_is_trained_by_the_first_process_of_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "recbench"]
    done = subprocess.run(
        # ease validates each of its candidates, in a process that the other one waits for.
        [*command, "run", "-m", "ease", "-d", "demo", "--threads", "1"],
        cwd=tmp_path,
        env=_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _record(tmp_path)["metrics"]["keep"]["ndcg@10"]["value"] > 0.1
