"""A small part of the kill campaign, in a process that may fork: pytest's own has threads."""

import subprocess
import sys
from pathlib import Path

import pytest

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
