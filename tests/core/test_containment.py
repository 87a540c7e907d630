"""Plugin code in this process: its faults become sentences, and the process is as it was before."""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadRequest, PluginFailed
from recbench.core.config import parse_assignment
from recbench.core.containment import contained, described, watch_calls
from recbench.core.errors import BadConfig, BudgetTooSmall, Interrupted
from recbench.running.many import worker


class Odd(BaseException):
    """No `Exception`."""


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


def recurse(n: int = 0) -> int:
    return recurse(n + 1)


def raiser(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def failing_thread() -> None:
    thread = threading.Thread(target=raiser(ValueError("lost")))
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (raiser(ValueError("no luck")), "failed in fit: ValueError: no luck"),
        (raiser(SystemExit(0)), r"called sys.exit\(\) in fit"),
        (raiser(KeyboardInterrupt()), "raised KeyboardInterrupt in fit though no signal had come"),
        (raiser(Odd("odd")), "failed in fit: Odd: odd"),
        (raiser(Unreadable()), "Unreadable: its text cannot be read"),
        (raiser(Leaving()), "Leaving: its text cannot be read"),
        (raiser(StopIteration()), "failed in fit: StopIteration"),
        (recurse, "failed in fit: RecursionError"),
        (failing_thread, "a thread that it started raised ValueError: lost"),
    ],
)
def test_every_fault_becomes_a_sentence_with_model_and_method(work: Callable[[], object], words: str) -> None:
    with pytest.raises(PluginFailed, match=f"^Model 'm' .*{words}"), contained("model 'm'", "fit"):
        work()


@pytest.mark.parametrize("error", [BadRequest, BudgetTooSmall, BadConfig, Interrupted, PluginFailed])
def test_an_error_of_recbench_that_a_plugin_raises_names_model_and_method(error: type[Exception]) -> None:
    with pytest.raises(PluginFailed, match=rf"^Model 'm' failed in fit: {error.__name__}: nope\.") as caught, contained("model 'm'", "fit"):
        raise error("nope")
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("again", [False, True])
def test_what_recbench_says_within_a_call_passes_unchanged(again: bool) -> None:
    def build() -> None:
        try:
            parse_assignment("width")
        except BadConfig as error:
            if again:
                raise error from None
            raise

    with pytest.raises(BadConfig, match=r"--set 'width'") as caught, contained("model 'm'", "fit"), contained("model 'n'", "build"):
        build()
    assert type(caught.value) is BadConfig


def test_a_model_that_came_along_speaks_for_recbench() -> None:
    raise_it = "def fit():\n    raise BadRequest('as it is')"
    names: dict[str, Any] = {"__name__": "recbench_models.m.recommender", "BadRequest": BadRequest}
    exec(raise_it, names)
    with pytest.raises(BadRequest, match=r"^as it is$"), contained("model 'm'", "fit"):
        names["fit"]()


def test_a_plugin_may_say_how_to_go_on_after_a_real_signal() -> None:
    def fit() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise Interrupted("go on") from None

    with pytest.raises(Interrupted, match="go on"), contained("model 'm'", "fit"):
        fit()


def test_a_real_signal_stays_an_interruption_whatever_contains_it() -> None:
    with pytest.raises(KeyboardInterrupt), contained("model 'm'", "fit"), contained("model 'n'", "fit"):
        signal.raise_signal(signal.SIGINT)


@settings(max_examples=50)
@given(st.text(max_size=9))
def test_a_described_error_is_one_printable_line_of_bounded_length(text: str) -> None:
    line = described(ValueError(text * 50))
    assert line.isprintable()
    assert len(line) < 500


LIBERTIES: dict[str, Callable[[], object]] = {
    "folder": lambda: os.chdir("/"),
    "handler": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "timer": lambda: signal.setitimer(signal.ITIMER_REAL, 3600),
    "timers": lambda: [signal.setitimer(timer, 0.4) for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
    "path": lambda: sys.path.clear(),
    "another path": lambda: setattr(sys, "path", []),
    "finders": lambda: sys.meta_path.clear(),
    "modules": lambda: [sys.modules.pop(name) for name in ("json", "numpy.ma")],
    "numpy": lambda: np.seterr(all="raise"),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "logging": lambda: logging.disable(logging.CRITICAL),
    "recursion": lambda: sys.setrecursionlimit(500),
    "umask": lambda: os.umask(0o777),
    "hooks": lambda: setattr(sys, "excepthook", None),
    "stdout": lambda: setattr(sys, "stdout", None),
}


def process_state() -> dict[str, object]:
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "folder": Path.cwd(),
        "handler": signal.getsignal(signal.SIGINT),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 1000,  # the time limit of these tests is a timer, too
        "timers": [signal.getitimer(timer) for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        "path": list(sys.path),
        "another path": (id(sys.path), list(sys.path)),
        "finders": list(sys.meta_path),
        "modules": [sys.modules.get(name) for name in ("json", "numpy.ma")],
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "logging": logging.root.manager.disable,
        "recursion": sys.getrecursionlimit(),
        "umask": umask,
        "hooks": sys.excepthook,
        "stdout": sys.stdout,
    }


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", LIBERTIES)
def test_what_a_plugin_changes_about_the_process_ends_with_the_call(name: str, fails: bool) -> None:
    before = process_state()
    try:
        with contained("model 'm'", "fit"):
            LIBERTIES[name]()
            assert process_state()[name] != before[name]
            if fails:
                raise ValueError("no luck")
    except PluginFailed:
        pass
    assert process_state() == before


def test_a_place_of_modules_that_a_plugin_adds_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method may import by it later."""
    monkeypatch.setattr(sys, "path", before := list(sys.path))
    content = list(before)
    with contained("model 'm'", "import"):
        sys.path = ["/a/new/place", *before[1:]]
    assert sys.path is before
    assert sys.path == ["/a/new/place", *content]


@pytest.mark.parametrize("reopens", [False, True])
def test_closing_files_at_random_is_a_fault_of_the_plugin(reopens: bool, tmp_path: Path) -> None:
    """All descriptors that the call has opened; the others are those of the tests."""

    def fit() -> None:
        for number in set(map(int, os.listdir("/dev/fd"))) - before:  # noqa: PTH208 (numbers, not files)
            with contextlib.suppress(OSError):
                os.close(number)
        while reopens and len(opened) < 8:
            opened.append(os.open(tmp_path, os.O_RDONLY))
        raise OSError("what comes of it")

    opened: list[int] = []
    before = set(map(int, os.listdir("/dev/fd")))  # noqa: PTH208
    folder = Path.cwd()
    with pytest.raises(PluginFailed, match=r"^Model 'm' closed files in fit that it had not opened\."), contained("model 'm'", "fit"):
        fit()
    for number in opened:
        os.close(number)  # still theirs
    assert Path.cwd() == folder


def test_torch_computes_in_single_precision_again() -> None:
    import torch

    with contained("model 'm'", "fit"):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)


def test_what_is_printed_goes_to_stderr_from_python_and_from_c(capfd: pytest.CaptureFixture[str]) -> None:
    with contained("model 'm'", "fit"):
        sys.stdout.write("a print\n")
        os.write(1, b"a write\n")
        ctypes.CDLL(None).puts(b"a puts")
        sys.stdout.close()
    sys.stdout.write("a result\n")
    out, err = capfd.readouterr()
    assert out == "a result\n"
    assert all(text in err for text in ("a print", "a write", "a puts"))


def test_closed_files_are_open_again(capfd: pytest.CaptureFixture[str]) -> None:
    with contained("model 'm'", "fit"):
        os.close(1)
        os.close(2)
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")


def test_a_plugin_reads_an_empty_stdin_and_a_worker_its_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    kept, (read_end, write_end) = os.dup(0), os.pipe()
    try:
        os.dup2(read_end, 0)
        os.write(write_end, b"a request\n")
        with worker._parent() as parent:
            with pytest.raises(PluginFailed, match=r"^Model 'm' failed in fit: EOFError"), contained("model 'm'", "fit"):
                input()
            assert (sys.stdin.read(), os.read(0, 9)) == ("", b"")
            assert parent.readline() == "a request\n"
    finally:
        os.dup2(kept, 0)
        for number in (kept, read_end, write_end):
            os.close(number)


def test_the_watcher_is_told_the_innermost_call(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("recbench.core.containment._watchers", [])
    watch_calls(told.append)
    with contained("model 'm'", "fit"), contained("model 'n'", "load"):
        pass
    assert told == ["model 'm' in fit", "model 'n' in load", "model 'm' in fit", ""]
