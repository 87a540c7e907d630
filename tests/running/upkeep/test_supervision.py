"""A process that ends without a word: its parent says what it did last, and its run becomes a failed one."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.running.host.workplace import Workplace
from recbench.running.run.leftovers import bury, sudden_end

PARENT = """
import ctypes, os, signal, sys, threading, time
from recbench.core.containment import contained
from recbench.running.upkeep.supervision import supervised

def work():
    with contained("model 'm'", "fit"):
        {work}

supervised(work)
"""


def supervise(work: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "", "RECBENCH_HOME": str(folder / "home")}
    command = [sys.executable, "-P", "-c", PARENT.format(work=work)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=environment, check=False)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("os._exit(0)", "The process ended by itself during model 'm' in fit, with code 0, no result and no error."),
        ("ctypes.string_at(0)", "Signal 11 (SIGSEGV) ended the process during model 'm' in fit."),
    ],
)
def test_a_child_that_disappears_is_named_and_the_exit_code_is_1(work: str, words: str, tmp_path: Path) -> None:
    done = supervise(work, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {words}")


def test_a_child_that_ends_its_work_gives_its_exit_code_and_its_output(tmp_path: Path) -> None:
    """A later exit handler of a plugin changes neither; Ctrl-C to the parent reaches the child."""
    work = (
        "import atexit; atexit.register(os._exit, 9)\n"
        "        try:\n            os.kill(os.getppid(), signal.SIGINT); time.sleep(30)\n"
        "        except KeyboardInterrupt: os.write(2, b'asked to stop')\n"
        "    print('result'); sys.exit(3)"
    )
    done = supervise(work, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "result\n", "asked to stop")


@pytest.mark.parametrize(
    ("code", "calling", "sentence"),
    [
        (0, "model 'm' in fit", "The process ended by itself during model 'm' in fit, with code 0"),
        (-9, "", "Signal 9 (SIGKILL) ended the process. A system that is short of memory does so."),
        (1, "Model 'm' was still in fit 60 s after the budget.", "Model 'm' was still in fit 60 s after the budget."),
        (-11, "model 'm' in load", "Signal 11 (SIGSEGV) ended the process during model 'm' in load."),
    ],
)
def test_the_sentence_says_how_and_during_what(code: int, calling: str, sentence: str) -> None:
    assert sudden_end(code, calling).startswith(sentence)


def test_half_written_runs_of_the_dead_process_become_failed_runs_and_others_stay(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")
    owners = {7: "demo-m-default-s0-01234567", 8: "demo-n-default-s0-01234567"}
    for pid, stem in owners.items():
        (workplace.runs / f".writing-{stem}-{platform.node()}-{pid}").mkdir(parents=True)
        (workplace.runs / f".writing-{stem}-{platform.node()}-{pid}" / "record.json").write_text("{")
    (workplace.runs / "demo-m-default-s0-01234567-1").mkdir()
    built = workplace.stages / ".building-training-m-0123"
    built.mkdir(parents=True)
    (workplace.stages / "locks").mkdir()
    (folder,) = bury(7, workplace, "It ended.")
    assert folder.name == "demo-m-default-s0-01234567-2"
    assert json.loads((folder / "failure.json").read_text()) == {"error": "PluginFailed", "message": "It ended."}
    assert not (folder / "record.json").exists(), "a failed run is no finished one, however far it came"
    assert not built.exists()
    assert sorted(path.name for path in workplace.runs.glob(".writing-*")) == [f".writing-demo-n-default-s0-01234567-{platform.node()}-8"]
