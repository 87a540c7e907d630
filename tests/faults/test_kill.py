"""A small part of the kill campaign, in a process that may fork: pytest's own has threads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import scenes

KILL = Path(__file__).parents[2] / "benchmarks" / "faults" / "kill.py"


@pytest.mark.slow
def test_killed_commands_end_as_undisturbed_ones() -> None:
    chosen = "run sasrec,leaderboard publish,leaderboard remeasure,cache clean"
    done = subprocess.run(
        [sys.executable, str(KILL), "--points", "16", "--lanes", "1", "--only", chosen],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kill points, 0 faults" in done.stdout


KILLED = {"error": "PluginFailed", "message": "Signal 9 (SIGKILL) ended the process during model 'x' in fit."}


def failed_run(desk: Path, name: str, failure: dict[str, str], *, has_record: bool = False) -> None:
    folder = desk / "work" / "runs" / name
    folder.mkdir(parents=True)
    (folder / "failure.json").write_text(json.dumps(failure))
    if has_record:
        (folder / "record.json").write_text("{}")


def test_attempts_of_killed_workers_are_told_from_other_failed_runs(tmp_path: Path) -> None:
    failed_run(tmp_path, "shop-x-s0-1", KILLED)
    failed_run(tmp_path, "shop-x-s0-2", KILLED)
    failed_run(tmp_path, "shop-x-s1-2", KILLED)  # out of turn
    failed_run(tmp_path, "shop-y-s0-1", {"error": "PluginFailed", "message": "Model 'y' failed in fit."})
    failed_run(tmp_path, "shop-z-s0-1", KILLED, has_record=True)
    assert scenes.buried_runs(tmp_path) == {"shop-x-s0": 2}


def test_only_the_run_behind_its_buried_attempts_is_counted_as_the_first() -> None:
    facts = {"shop-x-s0-3": "a", "shop-x-s0-3/ranks.parquet": "b", "shop-x-s0-4": "c", "shop-x-s1-2": "d"}
    expected = {"shop-x-s0-1": "a", "shop-x-s0-1/ranks.parquet": "b", "shop-x-s0-4": "c", "shop-x-s1-2": "d"}
    assert scenes.as_if_first(facts, {"shop-x-s0": 2}) == expected
