"""What a command that computes nothing imports: a command answers at once only while this stays short."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {"faiss", "jinja2", "matplotlib", "numpy", "pandas", "psutil", "pyarrow", "scipy", "sklearn", "torch", "transformers"}
FOLLOWED = """
import atexit, json, os, sys
atexit.register(lambda: os.write(2, (chr(10) + json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))).encode()))
from recbench.cli.app import main
sys.argv[0] = "recbench"
main()
"""


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("--help", set()),
        ("list models", {"pydantic", "numpy"}),  # one of our models has a function of arrays beside its settings
        ("list datasets", {"pydantic"}),
        ("list runs", {"pydantic", "psutil"}),  # unfinished folders are told by the processes that write them
        ("show RECORD", {"pydantic", "psutil"}),
        ("cache ls", {"pydantic", "psutil"}),
    ],
)
def test_a_command_imports_no_more_than_it_needs(words: str, allowed: set[str], tmp_path: Path) -> None:
    record = next(folder.name for folder in sorted((ROOT / "leaderboards" / "records").iterdir()) if (folder / "record.json").exists())
    command = [sys.executable, "-P", "-c", FOLLOWED, *words.replace("RECORD", record).split()]
    environment = {**os.environ, "RECBENCH_HOME": str(tmp_path / "home"), "RECBENCH_BOARDS": str(ROOT / "leaderboards")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert loaded & (LIBRARIES | {"pydantic"}) <= allowed


def test_the_benchmark_of_start_up_measures_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "start_up.py"))
    script["main"](["--repeats", "1", "--only=--help"])
    assert re.fullmatch(r"--help +\d+\.\d\d s; imports, ms: \S+ \d+(, \S+ \d+)*\n", capsys.readouterr().out)
