"""What every command shares: results on stdout, all else on stderr, errors as sentences with an exit code."""

import errno
import functools
import json
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

_WIDTH_OF_A_FILE = 200
"""Columns where nobody's terminal says how many there are."""
_INTERRUPTED = 130


def stdout() -> "Console":
    """The console for results."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_A_FILE)


@functools.lru_cache(maxsize=1)
def _stderr_of(stream: Any) -> "Console":
    from rich.console import Console

    console = Console(file=stream)
    return console if console.is_terminal else Console(file=stream, width=_WIDTH_OF_A_FILE)


def stderr() -> "Console":
    """The console for everything that is no result. Log lines, progress bars and live tables must share it."""
    import sys

    return _stderr_of(sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on stdout, of JSON values, paths, dataclasses and pydantic models."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=_as_json))


def _as_json(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    return value.model_dump(mode="json")


def print_line(text: str) -> None:
    """One line on stdout, neither folded nor coloured."""
    typer.echo(text)


def duration(seconds: float) -> str:
    """Such as `45 s`, `12 min`, `3 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """The command as the user meets it: logs on stderr, errors as one sentence each, exit codes 0, 1, 2 and 130.

    The function must take the option `debug`, which adds debug logs and tracebacks.
    """

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = bool(kwargs["debug"])
        with _logging(debug), _signals_as_interrupts():
            try:
                return function(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise
            except (Exception, KeyboardInterrupt) as error:
                if debug:
                    typer.echo(traceback.format_exc(), err=True, nl=False)
                sentence, code = explain(error, debug=debug)
                if code == _INTERRUPTED:
                    _ignore_signals()  # all is cleaned up; one more Ctrl-C must not end the sentence in a traceback
                typer.echo(sentence, err=True)
                raise typer.Exit(code) from None

    return command


def explain(error: BaseException, *, debug: bool = False) -> tuple[str, int]:
    """What to tell the user about an error, and the exit code of the process."""
    from recbench.core.errors import RecbenchError

    if isinstance(error, KeyboardInterrupt):
        return "Interrupted. The same command goes on from the last finished stage or checkpoint.", _INTERRUPTED
    chain = list(_causes(error))
    full = next((cause for cause in chain if _is_disk_full(cause)), None)
    if full is not None:
        where = f" while writing {full.filename}" if isinstance(full, OSError) and full.filename else ""
        return (
            f"Error: the disk is full{where} ({_one_line(full)}). Nothing half-written was kept as finished. "
            "Make room (`recbench cache ls` shows what the cache holds) and give the same command again.",
            1,
        )
    if any(_is_out_of_memory(cause) for cause in chain):
        return (
            f"Error: memory ran out ({_one_line(error)}). Set smaller batches (--set), run fewer jobs at a time or use a larger machine.",
            1,
        )
    if isinstance(error, RecbenchError):
        return f"Error: {error}", error.exit_code
    more = "" if debug else " This is a fault of recbench or a plugin; --debug shows the traceback."
    return f"Error: {type(error).__name__}: {_one_line(error)}.{more}", 1


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    # Libraries written in other languages raise errors of their own with the system's text in them.
    return "No space left on device" in str(error)


def _is_out_of_memory(error: BaseException) -> bool:
    # torch.OutOfMemoryError, without importing torch; on a CPU it raises a RuntimeError with this text.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Ctrl-C and a scheduler's SIGTERM unwind the command, so that locks are given back and nothing half-written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    # An ignored SIGINT stays ignored: a shell starts commands in the background so.
    taken = [signal.SIGTERM] + ([signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.SIG_DFL else [])
    before = {number: signal.signal(number, interrupt) for number in taken}
    try:
        yield
    finally:
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
    console = stderr()
    if console.is_terminal:
        from rich.logging import RichHandler

        return RichHandler(console=console, show_path=debug, show_level=debug, log_time_format="%H:%M:%S", markup=False)
    handler = logging.StreamHandler(console.file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if debug else "%(asctime)s %(message)s", "%H:%M:%S"))
    return handler
