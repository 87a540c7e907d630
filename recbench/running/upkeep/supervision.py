"""A command that runs foreign code, in a child process that this one watches.

Python cannot catch `os._exit`, a crash in native code or the kill of a system that is short of memory: the process is gone, perhaps with
exit code 0 and no word. The parent sees it, says which plugin call was under way, and exits with 1.
"""

import contextlib
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from recbench.core.containment import watch_calls, without_input
from recbench.running.host.workplace import Workplace
from recbench.running.run.leftovers import bury, sudden_end

_SIZE = 4096
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
_POLL_S = 0.02
_LINGER_S = 10.0
"""Seconds that threads left by a plugin may keep a process alive whose work is done."""


class _Slate:
    """Memory that parent and child share: byte 0 says that the child's work is done, byte 1 its exit code, the rest the call under way."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    def write_call(self, text: str) -> None:
        """Note the plugin call under way."""
        self._memory[2:] = text.encode("utf-8", "replace")[: _SIZE - 2].ljust(_SIZE - 2, b"\0")

    def write_end(self, code: int) -> None:
        """Note that the work is done, with this exit code."""
        self._memory[:2] = bytes([1, code & 0xFF])

    @property
    def call(self) -> str:
        """The plugin call that was noted last; empty where it had returned."""
        return bytes(self._memory[2:]).rstrip(b"\0").decode("utf-8", "ignore")

    @property
    def end(self) -> int | None:
        """The exit code, once the work is done."""
        return self._memory[1] if self._memory[0] else None


def supervised(work: Callable[[], object]) -> NoReturn:
    """Do `work`, which ends with SystemExit or returns, in a child process, and exit with its code.

    Signals are handed on to the child. A child whose parent is killed ends as if it had got SIGTERM. Where the child disappears without
    having ended its work, its run becomes a failed run and this process exits with 1 and a sentence.
    """
    slate = _Slate()
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that comes before this process hands signals on waits until it does.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        os.close(write_end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        _be_child(work, slate, read_end)
    os.close(read_end)
    # A process group of its own, so that Ctrl-C at a terminal reaches the child once, by way of this process.
    with contextlib.suppress(OSError):
        os.setpgid(child, child)

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    def suspend(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        os.kill(child, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.signal(signal.SIGTSTP, suspend)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    status = _wait(child, slate)
    if slate.end is not None:
        sys.exit(slate.end)
    code = os.waitstatus_to_exitcode(status)
    if not slate.call and -code in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}:
        sys.exit(128 - code)
    sentence = sudden_end(code, slate.call)
    buried = bury(child, Workplace.from_environment(), sentence)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGTERM)  # what the plugin had started
    where = f" The run is kept as {buried[0]}." if buried else ""
    sys.stderr.write(f"Error: {sentence}{where}\n")
    sys.exit(1)


def _be_child(work: Callable[[], object], slate: _Slate, parent: int) -> NoReturn:
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, args=[parent], name="recbench-parent", daemon=True).start()
    without_input()
    watch_calls(slate.write_call)
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        slate.write_end(code)
    sys.exit(code)


def _end_with_parent(parent: int) -> None:
    """Wait until the parent has gone, then end this process as SIGTERM would."""
    os.read(parent, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _wait(child: int, slate: _Slate) -> int:
    """The wait status of the child; one that does not end although its work is done is killed after a while."""
    done_at: float | None = None
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if slate.end is not None:
            done_at = time.monotonic() if done_at is None else done_at
            if time.monotonic() - done_at > _LINGER_S:
                os.kill(child, signal.SIGKILL)
                return os.waitpid(child, 0)[1]
        time.sleep(_POLL_S)
