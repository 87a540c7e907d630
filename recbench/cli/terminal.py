"""The shape that every command shares: results on stdout, all else on stderr, errors as sentences with an exit code."""

import functools
import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar

import typer

from recbench.cli.faults import INTERRUPTED, explain

if TYPE_CHECKING:
    from rich.console import Console

_SENT_AGAIN_AFTER_S = 0.02
P = ParamSpec("P")
R = TypeVar("R")

_WIDTH_OF_A_FILE = 200
"""Columns where nobody's terminal says how many there are."""
_results: ContextVar[TextIO | None] = ContextVar("results", default=None)
"""The stream for results while a command runs; `sys.stdout` is stderr then."""


def stdout() -> "Console":
    """The console for results."""
    return _console(_results.get() or sys.stdout)


@functools.lru_cache(maxsize=1)
def _stderr_of(stream: Any) -> "Console":
    return _console(stream)


def stderr() -> "Console":
    """The console for everything that is no result. Log lines, progress bars and live tables must share it."""
    return _stderr_of(sys.stderr)


def _console(stream: Any) -> "Console":
    from recbench.core.console import VisibleConsole

    console = VisibleConsole(file=stream)
    return console if console.is_terminal else VisibleConsole(file=stream, width=_WIDTH_OF_A_FILE)


def print_json(value: Any) -> None:
    """One JSON document on stdout, of JSON values, paths, dataclasses and pydantic models."""
    from recbench.core.visible import visible_json

    print_text(visible_json(json.dumps(value, indent=1, ensure_ascii=False, default=_as_json)) + "\n")


def _as_json(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    return value.model_dump(mode="json")


def print_line(text: str) -> None:
    """One line on stdout, neither folded nor coloured."""
    from recbench.core.visible import visible

    print_text(visible(text, one_line=True) + "\n")


def print_text(text: str) -> None:
    """A result on stdout that is exactly this, such as the content of a file."""
    typer.echo(text, file=_results.get(), nl=False)


def print_note(text: str) -> None:
    """A sentence on stderr, or several on a line each."""
    from recbench.core.visible import visible

    typer.echo(visible(text), err=True)


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """The command as the user meets it: results alone on stdout, errors as one sentence each, exit codes 0, 1, 2 and 130.

    The function must take the option `debug`, which adds debug logs and tracebacks.
    """

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = bool(kwargs["debug"])
        with _logging(debug), _signals_as_interrupts() as came:
            try:
                with _results_apart():
                    return function(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise
            # A command ends with typer.Exit: SystemExit comes from a plugin or a library, and its code may be 0.
            except (Exception, KeyboardInterrupt, SystemExit) as error:
                if debug:
                    print_note(traceback.format_exc().rstrip("\n"))
                from recbench.core.errors import RecbenchError

                # A library may turn the interruption into an error of its own, as pydantic does while it builds a validator.
                turned = came() and not isinstance(error, RecbenchError)
                sentence, code = explain(KeyboardInterrupt() if turned else error, debug=debug)
                if code == INTERRUPTED:
                    _ignore_signals()  # all is cleaned up; one more Ctrl-C must not end the sentence in a traceback
                print_note(sentence)
                raise typer.Exit(code) from None

    return command


@contextmanager
def _results_apart() -> Iterator[None]:
    """Results alone reach stdout: what a plugin, a library written in C or a child process prints there goes to stderr."""
    shown, number = sys.stdout, _descriptor(sys.stdout)
    if shown is None or number is None or _descriptor(sys.stderr) is None:  # no file, as where another program embeds this one
        token = _results.set(shown or io.StringIO())  # a closed stdout takes what nobody wants to read
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            _results.reset(token)
        return
    shown.flush()
    results = os.fdopen(os.dup(number), "w", encoding=shown.encoding, errors=shown.errors, buffering=1 if shown.isatty() else -1)
    os.dup2(sys.stderr.fileno(), number)
    token = _results.set(results)
    try:
        with redirect_stdout(sys.stderr):
            yield
        results.flush()
    finally:
        _results.reset(token)
        with suppress(OSError):
            shown.flush()
        os.dup2(results.fileno(), number)
        with suppress(OSError):  # a full disk or a reader that has gone is told by the flush above
            results.close()


def close_results() -> None:
    """Send to stderr what is still printed on stdout in this process, such as by functions that a plugin gave to `atexit`."""
    # Where the results themselves cannot be written, all stays as it is, so that Python says so at the end.
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _descriptor(stream: TextIO | None) -> int | None:
    """The number of an open file; None for a stream that has none."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


@contextmanager
def _signals_as_interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and a scheduler's SIGTERM unwind the command, so that locks are given back and nothing half-written stays.

    Yields:
        Whether one of them came here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        received.append(number)
        raise KeyboardInterrupt

    def unraisable(fault: "sys.UnraisableHookArgs") -> None:
        # A signal came while Python ran a destructor or a callback, which can raise nothing: it is sent again when that has ended.
        if issubclass(fault.exc_type, KeyboardInterrupt):
            again = threading.Timer(_SENT_AGAIN_AFTER_S, os.kill, (os.getpid(), signal.SIGTERM))
            again.daemon = True
            again.start()
        else:
            hook(fault)

    # An ignored SIGINT stays ignored: a shell starts commands in the background so.
    taken = [signal.SIGTERM] + ([signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.SIG_DFL else [])
    before = {number: signal.signal(number, interrupt) for number in taken}
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        yield lambda: bool(received)
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Make the rest of the process deaf to Ctrl-C; the command's handlers, if any, are put back when it has ended."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _logging(debug: bool) -> Iterator[None]:
    """Log lines of recbench and its plugins go to stderr from here to the end of the command; warnings of libraries too."""
    handler = _log_handler(debug)
    handler.addFilter(lambda record: debug or record.levelno >= logging.WARNING or record.name.startswith(("recbench", "_recbench_plugin")))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(level)


def _log_handler(debug: bool) -> logging.Handler:
    """Log lines that do not disturb a progress bar on a terminal; plain ones in a file."""
    from recbench.core.visible import LineFormatter

    console = stderr()
    if console.is_terminal:
        from rich.logging import RichHandler

        rich = RichHandler(console=console, show_path=debug, show_level=debug, log_time_format="%H:%M:%S", markup=False)
        rich.setFormatter(LineFormatter())
        return rich
    handler = logging.StreamHandler(console.file)
    handler.setFormatter(LineFormatter("%(asctime)s %(name)s: %(message)s" if debug else "%(asctime)s %(message)s", "%H:%M:%S"))
    return handler
