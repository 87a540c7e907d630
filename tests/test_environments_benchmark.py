"""benchmarks/environments.py: cells pass, fail with a reason, and are not tried twice."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "environments.py"


@pytest.mark.slow
def test_cells_pass_or_say_why_not_and_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("uv", reason="uv is not installed; the extra `dev` brings it")
    # Nothing is fetched: the wheel alone is installed, and the libraries are those of this environment.
    (tmp_path / "uv.toml").write_text("offline = true\n[pip]\nno-deps = true\nno-build-isolation = true\n")
    environment = {**os.environ, "UV_CONFIG_FILE": str(tmp_path / "uv.toml"), "UV_NO_BUILD_ISOLATION": "1"}
    libraries = {"PYTHONPATH": sysconfig.get_path("purelib")}

    def rows(extras: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), "--extras", extras, "--out", str(tmp_path / "cells.jsonl")]
        return subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, timeout=280)

    first = rows("none", **libraries)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "| none | passed, " in first.stdout
    bare = rows("none,tune")
    assert bare.returncode == 1
    assert "| tune | failed: recbench run: ModuleNotFoundError: No module named" in bare.stdout
    cells = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert [cell["extra"] for cell in cells] == ["none", "tune"]
    unknown = rows("nothing")
    assert unknown.returncode == 2
    assert "No extra is called nothing." in unknown.stderr
