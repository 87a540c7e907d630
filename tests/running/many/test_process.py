"""What is said of a worker that ends without a word: how it ended, its last line, and where its log is."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recbench.running.host.workplace import Workplace
from recbench.running.many import worker
from recbench.running.many.executors.executor import Report
from recbench.running.many.executors.process import WorkerProcess
from recbench.running.many.worker import request_to_json
from recbench.running.requests import RunRequest

WRITES_A_RUN = "mkdir -p runs/.writing-x-$(uname -n)-$$ && echo begun > runs/.writing-x-$(uname -n)-$$/log.txt"


@pytest.fixture
def request_here(tmp_path: Path) -> dict[str, Any]:
    workplace = Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")
    return request_to_json(RunRequest("popularity", "demo"), workplace)


def ended(script: str, request: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """The last report of a worker that is this shell script."""
    program = folder / "worker.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    start = subprocess.Popen
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda _, **options: start([str(program)], **options))
        process = WorkerProcess(request, folder)
    while (report := process.report()).state == "running":
        time.sleep(0.01)
    return report


@pytest.mark.parametrize(
    ("script", "sentences"),
    [
        ("exec 2>&-; exit 3", ["with code 3, no result and no error"]),
        ("echo training >&2; exec 2>&-; exit 3", ["with code 3", "The last line it wrote: training."]),
        ("exec 2>&-; kill -SEGV $$", ["Signal 11 (SIGSEGV) ended the process"]),
        (f"{WRITES_A_RUN}; exec 2>&-; exit 3", ["with code 3", "Its log: {folder}/runs/x-1/log.txt"]),
        (f"{WRITES_A_RUN}; kill -KILL $$", ["Signal 9 (SIGKILL)", "Its log: {folder}/runs/x-1/log.txt"]),
    ],
)
def test_an_end_without_a_word_is_told_with_its_code_and_log(
    script: str, sentences: list[str], request_here: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ended(script, request_here, tmp_path, monkeypatch)
    assert report.state == "failed"
    for sentence in sentences:
        assert sentence.format(folder=tmp_path) in report.text


@pytest.mark.parametrize(
    ("error", "words"),
    [(KeyError("width"), "KeyError: 'width'. This is a fault of recbench or a plugin."), (MemoryError(), "Memory ran out")],
)
def test_an_error_nobody_foresaw_reaches_the_parent_without_a_stream_of_errors(
    error: Exception, words: str, request_here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise ValueError("I/O operation on closed file")

    events = io.StringIO()
    read_end, write_end = os.pipe()  # its end is not told, so that nothing stops this process
    os.write(write_end, (json.dumps(request_here) + "\n").encode())
    with os.fdopen(read_end) as parent, monkeypatch.context() as patch:
        patch.setattr(worker, "do_job", fail)
        patch.setattr(worker, "_events", lambda: events)
        patch.setattr(worker, "_parent", lambda: parent)
        patch.setattr(worker, "_end_with", lambda _: None)
        patch.setattr(worker, "watch_calls", lambda _: None)
        patch.setattr(worker.signal, "signal", lambda *_: None)
        patch.setattr(sys, "stderr", Closed())
        assert worker.main() == 1
    os.close(write_end)
    assert words in json.loads(events.getvalue())["error"]


def test_a_worker_that_nobody_listens_to_any_more_does_not_fail(request_here: dict[str, Any], tmp_path: Path) -> None:
    # As after the sudden end of its parent, in the moment before it is told of it: no run fails for that.
    command = [sys.executable, "-P", "-m", "recbench.running.many.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write((json.dumps(request_here) + "\n").encode())
        process.stdin.flush()
        process.wait(timeout=120)
        process.stdin.close()
    assert process.returncode == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "record.json").is_file()
