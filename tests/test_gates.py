"""The gates themselves: a real-data test that is skipped while the data are there fails the session."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SKIPPED = """
import pytest

@pytest.mark.real_data
def test_real():
    pytest.skip("looked in the wrong place")

def test_other():
    pytest.skip("has its reasons")
"""


@pytest.mark.parametrize(("data", "code"), [("", 0), ("somewhere", 1)])
def test_a_skipped_test_of_real_data_fails_where_the_data_are(tmp_path: Path, data: str, code: int) -> None:
    for name in ("conftest.py", "preloaded.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), str(tmp_path)]
    environment = {**os.environ, "RECBENCH_DATA": data}
    done = subprocess.run([*command, "--rootdir", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout
    assert ("1 failed, 1 skipped" in done.stdout) == bool(code)


def test_gates_are_executable_and_call_make_test_with_a_version_of_torch() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test TORCH=torch==" in script.read_text()
    assert "apt-get install" in script.read_text(), "the test of the boards' page needs a browser"
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)


def test_the_makefile_has_the_promised_targets() -> None:
    for target in ("install", "install-uv", "demo", "test", "test-fast", "test-only-fast", "test-lowest", "lint"):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True, timeout=20)


def test_all_checks_include_the_lowest_versions_with_the_torch_that_is_given() -> None:
    command = ["make", "--dry-run", "test", "TORCH=torch==2.13.0"]
    steps = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=20).stdout
    assert re.search(r"uv pip install .*build/lowest/bin/python \"torch==2\.13\.0\"", steps)
    assert re.search(r"uv pip install .*build/lowest/bin/python --resolution lowest-direct", steps)
    assert "build/lowest/bin/pytest" in steps
