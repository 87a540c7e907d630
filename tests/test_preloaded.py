"""Forked processes behave as started ones."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")

TELLS = """
import json, os, sys
loaded = [name for name in ("torch", "recbench", "preloaded") if name in sys.modules]
told = {"words": sys.argv, "folder": os.getcwd(), "variable": os.environ.get("GIVEN"), "read": sys.stdin.read(), "loaded": loaded}
print(json.dumps(told))
sys.exit("and ends")
"""
SLEEPS = "import time\nprint('begun', flush=True)\ntime.sleep(100)\n"


def script(folder: Path, text: str) -> str:
    (folder / "script.py").write_text(text)
    return str(folder / "script.py")


def test_words_folder_environment_pipes_and_status_are_those_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, script(tmp_path, TELLS), "one", "two words"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "GIVEN": "x"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told, said = process.communicate("a line\n", timeout=100)
    assert json.loads(told) == {
        "words": command[1:],
        "folder": str(tmp_path),
        "variable": "x",
        "read": "a line\n",
        "loaded": ["torch"],
    }
    assert (process.returncode, said) == (1, "and ends\n")


def test_modules_of_its_own_python_path_are_found_first(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "told.py").write_text("import sys; place = [sys.path.index(entry) for entry in sys.path if entry.endswith('site')][0]")
    command = [sys.executable, script(tmp_path, "import sys, told; print(told.place, 'torch' in sys.modules)")]
    for environment, said in (({"PYTHONPATH": str(site)}, "1 True\n"), ({}, "")):
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "", **environment}, capture_output=True, text=True, check=False)
        assert done.stdout == said
        assert ("No module named 'told'" in done.stderr) == (not said)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_it_and_its_end_is_told(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, script(tmp_path, SLEEPS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(100) == -number
        assert process.poll() == -number


def test_an_interpreter_that_is_asked_what_it_has_loaded_is_started() -> None:
    code = "import sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_workers_of_torchrun_are_forked_and_lead_sessions_of_their_own(tmp_path: Path) -> None:
    told = script(tmp_path, "import os, sys; print('pandas' in sys.modules, os.getsid(0) == os.getpid(), os.environ['RANK'])")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    package = tmp_path / "recbench_told"
    package.mkdir()
    Path(told).rename(package / "__main__.py")
    done = subprocess.run(
        [sys.executable, "-P", *launcher, "-m", "recbench_told"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == "True True 0\n"
