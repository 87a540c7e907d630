"""A machine that lets the run down: a full disk, no memory, no such device, Ctrl-C (architecture.md section 8)."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.cli.terminal import explain
from recbench.core import Interrupted, StageFailed
from recbench.running.upkeep.doctor import check_openmp

WritePlugin = Callable[..., Path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_leaves_nothing_half_written(recbench: Any, write_plugin: WritePlugin) -> None:
    """The plugin's weights go to a device where every write fails as on a full disk."""
    folder = write_plugin("big", save="(folder / 'weights').symlink_to('/dev/full'); (folder / 'weights').write_bytes(b'x' * 100_000)")
    answer = recbench("run", "-m", "big", "-d", "demo", "--plugin", folder)
    assert answer.code == 1
    assert "Traceback" not in answer.stderr
    assert "the disk is full" in answer.stderr
    assert "recbench cache ls" in answer.stderr
    assert recbench.half_written() == []
    assert not list((recbench.home / "stages").glob("training-*"))
    assert not list(recbench.folder.rglob("record.json"))


def test_a_device_that_is_not_there_is_refused(recbench: Any) -> None:
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", "demo", "--device", "cuda:63").refuses("cuda:63", "CUDA", "--device cpu")
    assert recbench.listing() == before


def test_memory_that_runs_out_is_a_sentence(recbench: Any, write_plugin: WritePlugin) -> None:
    folder = write_plugin("huge", spoil="np.ones((1 << 46,), dtype=np.int64)")
    answer = recbench("run", "-m", "huge", "-d", "demo", "--plugin", folder)
    assert answer.code == 1
    assert "memory ran out" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_error_nobody_foresaw_is_one_line_that_mentions_debug(recbench: Any, write_plugin: WritePlugin) -> None:
    folder = write_plugin("odd", spoil="raise KeyError('a\\nb')")
    answer = recbench("run", "-m", "odd", "-d", "demo", "--plugin", folder)
    assert answer.code == 1
    assert "Traceback" not in answer.stderr
    assert "--debug" in answer.stderr.strip().splitlines()[-1]
    assert "Traceback" in recbench("run", "-m", "odd", "-d", "demo", "--plugin", folder, "--debug").stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "The same command goes on"),
        (Interrupted("Stopped at step 7. Go on with the same command."), 130, "step 7"),
        (StageFailed("The loss is nan at step 3."), 1, "step 3"),
        (OSError(28, "No space left on device", "weights"), 1, "the disk is full while writing weights"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 1, "the disk is full"),
        (MemoryError(), 1, "memory ran out"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_exit_codes_and_sentences(error: BaseException, code: int, words: str) -> None:
    sentence, found = explain(error)
    assert found == code
    assert words in sentence
    assert "\n" not in sentence


def test_a_full_disk_is_recognised_behind_another_error() -> None:
    error = StageFailed("The ranks could not be written.")
    error.__cause__ = OSError(28, "No space left on device", "ranks.parquet")
    assert "the disk is full while writing ranks.parquet" in explain(error)[0]


def interrupted(recbench: Any, process_signal: signal.Signals, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that got a signal once the plugin's training had begun."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "recbench", *words],
        cwd=recbench.folder,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not (recbench.folder / "begun").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(process_signal)
    stdout, stderr = process.communicate(timeout=90)
    return process.returncode, stdout, stderr


SLOW = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(120)"


@pytest.mark.slow
@pytest.mark.parametrize("process_signal", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half_written(
    recbench: Any, write_plugin: WritePlugin, process_signal: signal.Signals
) -> None:
    folder = write_plugin("slow", save=SLOW)
    code, stdout, stderr = interrupted(recbench, process_signal, "run", "-m", "slow", "-d", "demo", "--plugin", str(folder))
    assert code == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "same command" in stderr
    assert recbench.half_written() == []
    assert not list(recbench.folder.glob("runs/*"))
    assert not list((recbench.home / "stages").glob("training-*"))


@pytest.mark.slow
def test_ctrl_c_ends_a_comparison_and_its_cells(recbench: Any, write_plugin: WritePlugin) -> None:
    folder = write_plugin("slow", save=SLOW)
    words = ("compare", "-m", "slow,random", "-d", "demo", "--plugin", str(folder))
    code, stdout, stderr = interrupted(recbench, signal.SIGINT, *words)
    assert code == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "same command" in stderr


def test_on_macos_doctor_finds_two_openmp_runtimes_and_says_what_to_do(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("torch", "faiss")}
    for folder in folders.values():
        (folder / "lib").mkdir(parents=True)
    (folders["torch"] / "lib" / "libomp.dylib").touch()
    assert check_openmp("Darwin", folders).state == "ok"
    (folders["faiss"] / "lib" / "libomp.dylib").touch()
    found = check_openmp("Darwin", folders)
    assert found.state == "note"
    assert "torch and faiss" in found.found
    assert "OMP_NUM_THREADS=1" in found.advice
    assert check_openmp("Linux", folders).state == "ok"


def test_doctor_shows_the_openmp_check(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    checks = {check["name"]: check for check in json.loads(recbench("doctor", "--json").stdout)}
    assert "runtime" in checks["OpenMP"]["found"]
