"""The worked example of docs/add-a-model.md: installed as a distribution of its own, listed, run, tested, on a board."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recbench.testing import write_source

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "example-plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example in it and nothing else, as pip installs it."""
    work = tmp_path_factory.mktemp("example")
    # A copy, since building leaves files in the source.
    source = shutil.copytree(EXAMPLE, work / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--no-index", "--target", str(work / "site"), str(source)], check=True, timeout=120, cwd=work)
    shutil.rmtree(source)
    return work / "site"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_is_listed_run_and_on_a_board_and_keeps_the_contract(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RECBENCH_DATA"}
    environment |= {"PYTHONPATH": str(installed), "RECBENCH_HOME": str(tmp_path / "home")}
    write_source(tmp_path / "shop")

    def give(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)

    def answer(*words: str) -> Any:
        done = give("recbench", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    (row,) = (row for row in answer("list", "models") if row["name"] == "ials")
    assert row["broken"] is None
    assert row["distribution"] == "recbench-ials"
    for model in ("ials", "popularity"):
        answer("run", "-m", model, "-d", "shop", "--threads", "1")
    record = json.loads(next(tmp_path.glob("runs/shop-ials-*/record.json")).read_text())
    assert record["model"]["distribution"] == "recbench-ials"
    assert record["metrics"]["keep"]["ndcg@10"]["value"] > 0.1
    answer("leaderboard", "publish")
    assert "ials:default" in (tmp_path / "leaderboards" / "shop.md").read_text()
    answer("verify")

    shutil.copy(EXAMPLE / "tests" / "test_ials.py", tmp_path)
    tested = give("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tmp_path), "test_ials.py")
    assert tested.returncode == 0, tested.stdout


def test_the_example_is_short() -> None:
    """What the guide says about its length, blank lines and docstrings of one line apart."""
    code = []
    for file in (EXAMPLE / "src" / "recbench_ials").glob("*.py"):
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        code += [line for line in lines if line and not line.startswith(("#", '"""'))]
    assert len(code) <= 60
