"""A cell of a comparison, or a trial of a search, in a process of its own."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from recbench.running.many.executors.executor import Report
from recbench.running.many.worker import INTERRUPTED, workplace_from_json
from recbench.running.run.execute import LOG_FILE
from recbench.running.run.leftovers import bury, sudden_end

_STOP_WAIT_S = 60.0
_LINGER_S = 10.0
"""Seconds that threads left by a plugin may keep a process alive that has told its end."""


class WorkerProcess:
    """A process of `recbench.running.many.worker` with its reports.

    The pipe to its standard input stays open for as long as this process lives: where it closes, the worker writes its checkpoint
    and ends, so that no training goes on for a comparison that was killed or a machine that was given up.
    """

    def __init__(self, request: Mapping[str, Any], folder: Path) -> None:
        """Start the process.

        Args:
            request: job as JSON values, as `recbench.running.many.worker.request_to_json` makes it.
            folder: working folder; relative paths of the request start there.
        """
        # -P keeps the current folder off the path, so that a checkout's `datasets/` hides no library of that name.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "recbench.running.many.worker"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._workplace = workplace_from_json(request["workplace"])
        self._step: dict[str, Any] | None = None
        self._end: dict[str, Any] = {}
        self._ended_at: float | None = None
        self._calling = ""
        self._last_line = ""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        readers = [(self._read_events, self._process.stdout), (self._read_log, self._process.stderr)]
        self._readers = [threading.Thread(target=read, args=[stream], daemon=True) for read, stream in readers]
        for reader in self._readers:
            reader.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It ended at once; its log says why.

    def _read_events(self, lines: Iterable[str]) -> None:
        for line in lines:
            event = json.loads(line)
            if "step" in event:
                self._step = event if event["step"] is not None else None
            elif "calling" in event:
                self._calling = event["calling"]
            else:
                self._end, self._ended_at = event, time.monotonic()

    def _read_log(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.strip():
                self._last_line = line.strip()

    @property
    def is_interrupted(self) -> bool:
        """True where a signal ended it in good order: the same request goes on from the checkpoint."""
        return self._process.poll() in {INTERRUPTED, -signal.SIGINT, -signal.SIGTERM}

    def report(self) -> Report:
        """Current state of the process."""
        code = self._process.poll()
        if code is None and self._ended_at is not None and time.monotonic() - self._ended_at > _LINGER_S:
            self._process.kill()
            code = self._process.wait()
        if code is None:
            step = self._step
            return Report("running", text=step["step"], left_s=step["left_s"]) if step else Report("running", text=self._last_line)
        self._close()
        if "result" in self._end:
            return Report("done", self._end["result"])
        if "error" in self._end:
            return Report("failed", text=self._end["error"])
        sentence = sudden_end(code, self._calling)
        buried = bury(self._process.pid, self._workplace, sentence)
        return Report("failed", text=" ".join([sentence, *self._traces(buried)]))

    def _traces(self, buried: Sequence[Path]) -> Iterator[str]:
        """Sentences about the traces of a process that ended without a result: its last line, and the log of its run."""
        if not self._calling and self._last_line:
            yield f"The last line it wrote: {self._last_line.rstrip('.')}."
        for log in (folder / LOG_FILE for folder in buried):
            if log.is_file():
                yield f"Its log: {log}"

    def stop(self) -> None:
        """Ask it to write its checkpoint and end."""
        self._process.terminate()

    def join(self) -> None:
        """Wait for its end, a minute at most; then kill it."""
        try:
            self._process.wait(timeout=_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(timeout=1.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                # A process that ended before it read its request leaves some of that in the buffer, which closing tries to write again.
                with suppress(BrokenPipeError):
                    stream.close()
