"""Commands of recbench in forked copies of one process that has imported everything once, and blows that end them.

A fresh Python takes three seconds to import torch and transformers; a fork takes milliseconds. The process that forks must have started no
thread: whoever imports this module computes nothing.
"""

import gc
import importlib
import json
import mmap
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("SIGKILL", "SIGTERM", "SIGINT", "Ctrl-C twice")
PHASES = ("start", "data", "training", "checkpoint", "ranking", "record", "pages", "cache", "workers")
_FILE_EVENTS = frozenset(
    {
        "open",
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "os.chmod",
        "shutil.rmtree",
    }
)
_WRITES = os.O_WRONLY | os.O_RDWR
_PATIENCE_S = 180.0
_POLL_S = 0.02
_ORPHANS_S = 30.0


@dataclass(frozen=True)
class Command:
    """What is typed, where, and with which variables of the environment."""

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Blow:
    """A signal and its moment: `at_s` after the start, or right before the `at_event`-th change of a file, counted from 1."""

    kind: str
    at_s: float | None = None
    at_event: int | None = None
    again: float = 0.0
    """For a second Ctrl-C: seconds after the first one, or changes of files."""
    target: str = "process"
    """`process`; with processes of its own also `group`, all of them at once, or `worker`, one of them."""


@dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes:
        code: exit code; negative is the signal that ended it.
        struck: whether the blow came before the end.
        phase: what the command did when it came.
        seconds, events: how long it ran, and how many changes of files it made.
        output, errors: what it printed.
        orphans: processes of its own that were still there long after it.
    """

    code: int
    struck: bool
    phase: str
    seconds: float
    events: int
    output: str
    errors: str
    orphans: int = 0


def import_all(modules: Iterable[str]) -> None:
    """Import what commands need, once for all forks."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection of every fork would copy all pages


def modules_of(command: Command) -> list[str]:
    """The modules that a command imports, seen in a fork, so that this process starts none of the threads that work would."""
    names = command.folder / ".modules.json"
    code = _fork(lambda: _run(command, names), command, "modules")
    if code != 0:
        raise SystemExit(f"{' '.join(command.words)} ended with {code}: {_text(command, 'modules', 'errors')}")
    found = json.loads(names.read_text())
    names.unlink()
    return [name for name in found if name.split(".")[0] in {"recbench", "recbench_models", "torch", "transformers", "pyarrow", "numpy"}]


def end_of(command: Command, blow: Blow | None = None) -> End:
    """Run a command to its end, or to what a blow makes of it."""
    shared = mmap.mmap(-1, 16)
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(command, blow, shared, tell)
    os.close(tell)
    os.read(ready, 1)  # the clock starts where the command does
    os.close(ready)
    start = time.monotonic()
    struck, code = _watch(pid, blow, shared, start)
    seconds = time.monotonic() - start
    orphans = _orphans(pid)
    events, by_event, phase = _read(shared)
    # A process that has just ended and was not waited for yet can still be sent a signal.
    struck = struck and not (blow is not None and (blow.kind, blow.target) == ("SIGKILL", "process") and code == 0)
    return End(
        code,
        struck or by_event,
        PHASES[phase],
        seconds,
        events,
        _text(command, "command", "output"),
        _text(command, "command", "errors"),
        orphans,
    )


def _watch(pid: int, blow: Blow | None, shared: mmap.mmap, start: float) -> tuple[bool, int]:
    """Wait for a child's end, striking it where the blow goes by the clock: whether it was struck, and the exit code."""
    pidfd = os.pidfd_open(pid)
    struck = False
    try:
        if blow is not None and blow.at_s is not None and not select.select([pidfd], [], [], blow.at_s)[0]:
            struck = _strike(pid, blow)
            shared[9] = 1  # the phase stays what it was at this moment
            if blow.kind == "Ctrl-C twice" and not select.select([pidfd], [], [], blow.again)[0]:
                _strike(pid, blow)
        if not select.select([pidfd], [], [], max(start + _PATIENCE_S - time.monotonic(), 1.0))[0]:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return struck, 1_000  # no exit code is that large: it hung
        return struck, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)


def _signal_of(kind: str) -> signal.Signals:
    return signal.SIGINT if kind == "Ctrl-C twice" else signal.Signals[kind]


def _strike(pid: int, blow: Blow) -> bool:
    """Send the signal; whether there was somebody to hear it."""
    number = _signal_of(blow.kind)
    try:
        if blow.target == "group":
            os.killpg(pid, number)
        elif blow.target == "worker":
            workers = [member for member in _session(pid) if member != pid]
            if not workers:
                return False
            os.kill(min(workers), number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _orphans(session: int) -> int:
    """How many processes of a session outlive its leader by half a minute; those that end by then do what they were asked for."""
    deadline = time.monotonic() + _ORPHANS_S
    while left := _session(session):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return len(left)
        time.sleep(_POLL_S)
    return 0


def _session(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            about = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended just now
            continue
        if int(about[3]) == session and about[0] != "Z":
            found.append(int(entry.name))
    return found


def _fork(work: Callable[[], int], command: Command, name: str) -> int:
    pid = os.fork()
    if pid == 0:
        _settle(command, name)
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _child(command: Command, blow: Blow | None, shared: mmap.mmap, tell: int) -> None:
    """The forked copy: never returns."""
    code = 70
    try:
        _settle(command, "command")
        # A hook cannot be taken off again; this process ends with the command.
        sys.addaudithook(_Hook(shared, blow))
        os.close(tell)
        code = _run(command)
    except BaseException:  # what the interpreter would do with what reaches it
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _settle(command: Command, name: str) -> None:
    """Make this copy a process of its own: session, folder, environment, streams, signals."""
    os.setsid()
    os.chdir(command.folder)
    os.environ.clear()
    os.environ.update(command.environment)
    streams: dict[int, str | Path] = {0: "/dev/null", 1: _path(command, name, "output"), 2: _path(command, name, "errors")}
    for number, path in streams.items():
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(command: Command, names: Path | None = None) -> int:
    """Give the command to the application, as `python -m recbench` does."""
    from recbench.cli.app import main

    sys.argv = ["recbench", *command.words]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if names is not None:
        names.write_text(json.dumps(sorted(sys.modules)))
    return code


class _Hook:
    """Counts changes of files, notes in which phase they are made, and strikes before the one that was chosen.

    The 16 shared bytes: 0 to 7 the count, 8 the phase, 9 whether the phase stays, 10 whether this hook struck.
    """

    def __init__(self, shared: mmap.mmap, blow: Blow | None) -> None:
        self._shared = shared
        self._count = 0
        self._kind = blow.kind if blow is not None and blow.at_event is not None else ""
        self._at = {blow.at_event} if blow is not None and blow.at_event is not None else set()
        if self._kind == "Ctrl-C twice" and blow is not None and blow.at_event is not None:
            self._at.add(blow.at_event + max(1, round(blow.again)))
        self._pid = os.getpid()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _FILE_EVENTS or os.getpid() != self._pid:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        self._count += 1
        self._shared[0:8] = self._count.to_bytes(8, "little")
        if not self._shared[9]:
            phase = _phase(event, str(arguments[0]))
            if phase is not None:
                self._shared[8] = PHASES.index(phase)
        if self._count in self._at:
            self._shared[9] = self._shared[10] = 1
            os.kill(self._pid, _signal_of(self._kind))


def _phase(event: str, path: str) -> str | None:
    """What a command does that changes a file, None where the name does not say."""
    if ".lock" in path:
        return None
    if "/partial/" in path:
        # With its renaming a checkpoint is there, and training goes on.
        return "checkpoint" if ".writing-" in path and event != "os.rename" else "training"
    if ".building-" in path:
        stage = path.partition(".building-")[2]
        return "data" if stage.startswith(("dataset", "split")) else "ranking" if stage.startswith("ranking") else "training"
    if ".writing-" in path:
        return "record"
    if "leaderboards" in path:
        return "pages"
    if "/stages/" in path or "/datasets/" in path or ".removing-" in path:
        return "cache"
    return None


def _read(shared: mmap.mmap) -> tuple[int, bool, int]:
    """Count of events, whether the hook struck, number of the phase."""
    return int.from_bytes(shared[0:8], "little"), bool(shared[10]), shared[8]


def _path(command: Command, name: str, stream: str) -> Path:
    return command.folder.parent / f"{name}.{stream}"


def _text(command: Command, name: str, stream: str) -> str:
    return _path(command, name, stream).read_text(encoding="utf-8", errors="replace")


def drawn_blow(rng: random.Random, seconds: float, events: int, *, share: float, has_workers: bool) -> Blow:
    """A blow at random: half of them by the clock, half before a change of a file.

    Args:
        seconds, events: length of the undisturbed command.
        share: how much of that length there is to strike in; less where an earlier attempt has done a part.
        has_workers: whether the command starts processes of its own, which may be struck, too.
    """
    kind = rng.choice(KINDS)
    if has_workers:
        target = rng.choice(("process", "group", "worker")) if kind == "SIGKILL" else rng.choice(("process", "group"))
        return Blow(kind, at_s=rng.uniform(0.0, seconds * share), again=rng.uniform(0.0, 0.5), target=target)
    if rng.random() < 0.5:
        return Blow(kind, at_s=rng.uniform(0.0, seconds * share), again=rng.expovariate(20.0))
    return Blow(kind, at_event=rng.randint(1, max(1, round(events * share))), again=rng.choice((1, 2, 3, 8)))
