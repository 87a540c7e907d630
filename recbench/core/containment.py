"""Containment of plugin code: every fault becomes one sentence, and the process is put back as it was.

A plugin runs in the process of the harness. While it does, its prints go to stderr, and a change of the working folder, of signal
handlers, streams, numpy's and torch's defaults or of warning filters ends with the call. What ends the whole process cannot be caught
here; the process that watches this one is told which call is under way (`watch_calls`).
"""

import contextlib
import ctypes
import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from operator import is_
from typing import Any

from recbench.core.errors import Interrupted, PluginFailed

_LONGEST_TEXT = 400
_LEAST_TIMER_S = 0.01
_TIMER_TOLERANCE_S = 0.5
_TIMERS: dict[int, Callable[[], float]] = {
    signal.ITIMER_REAL: time.monotonic,
    signal.ITIMER_VIRTUAL: lambda: os.times().user,
    signal.ITIMER_PROF: time.process_time,
}
"""The timers of a process with the clocks by which they run down."""
_WATCHED = (signal.SIGINT, signal.SIGTERM)
_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""What numpy does about floating-point errors unless told otherwise."""
_watchers: list[Callable[[str], None]] = []
"""Told of each call; a process has one watcher at most, the one that started it."""
_calls: list[str] = []
"""The calls under way, the innermost last."""
_owned: dict[int, os.stat_result] = {}
"""Descriptors that containment holds during a call, with what they lead to: where one has changed, a plugin has closed files that are not
its own."""


def watch_calls(watcher: Callable[[str], None]) -> None:
    """From now on, call `watcher` with the plugin call under way, such as `model 'gram' in fit`, and with "" when it has ended."""
    _watchers[:] = [watcher]


def tell(text: str) -> None:
    """Tell the watching process what this one does now, or why it is about to end."""
    for watcher in _watchers:
        watcher(text)


def without_input() -> None:
    """Give this process an empty stdin: a plugin that asks a question gets EOFError at once instead of waiting for ever."""
    empty = os.open(os.devnull, os.O_RDONLY)
    if empty != 0:
        os.dup2(empty, 0)
        os.close(empty)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)


def text_of(error: BaseException) -> str:
    """The text of an error, whatever its own `__str__` does, such as calling sys.exit()."""
    try:
        return str.__str__(str(error))
    except BaseException:
        return "its text cannot be read"


def described(error: BaseException) -> str:
    """Type and text of an error on one line of bounded length."""
    text = " ".join(text_of(error).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    text = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def contained(who: str, method: str) -> Iterator[None]:
    """Run a block of plugin code, and all that reads what it returned: an object of a plugin may run code when it is only compared.

    Args:
        who: the plugin, as a sentence names it, such as `model 'gram'`.
        method: what is called, such as `fit`.

    Raises:
        PluginFailed: the block raised, tried to end the process, or a thread that it started raised. What recbench itself raised
            within the block passes unchanged, and so does an interruption after a real signal.
    """
    _calls.append(f"{who} in {method}")
    tell(_calls[-1])
    try:
        with ExitStack() as stack:
            thread_errors = stack.enter_context(_thread_errors())
            came = stack.enter_context(_signals())
            stack.enter_context(_process_state())
            stack.enter_context(_streams())
            stack.enter_context(_files(who, method))
            try:
                yield
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | Interrupted) and came():
                    raise
                if _is_sentence_of_recbench(error):
                    raise
                raise _as_fault(error, who, method) from error
        if thread_errors:
            fault = thread_errors[0]
            raise PluginFailed(f"{_subject(who)} failed in {method}: a thread that it started raised {described(fault)}.") from fault
    finally:
        _calls.pop()
        tell(_calls[-1] if _calls else "")


def _is_sentence_of_recbench(error: BaseException) -> bool:
    """Whether the error is of a class of recbench, and recbench or a model that came along with it raised it.

    Such a sentence is meant for the user as it stands: a budget that is too small, weights that cannot be had. A plugin that raises the
    same class says nothing of who speaks, so that its error is a fault like any other. Who raised is the innermost frame.
    """
    if not str(type(error).__module__).startswith("recbench."):
        return False
    raiser = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        raiser = str(frame.f_globals.get("__name__", ""))
    return raiser.startswith(("recbench.", "recbench_models."))


def _as_fault(error: BaseException, who: str, method: str) -> PluginFailed:
    if isinstance(error, SystemExit):
        return PluginFailed(
            f"{_subject(who)} called sys.exit() in {method} ({described(error)}). A plugin must not end the process: raise an error."
        )
    if isinstance(error, KeyboardInterrupt):
        return PluginFailed(f"{_subject(who)} raised KeyboardInterrupt in {method} though no signal had come. Raise another error.")
    return PluginFailed(f"{_subject(who)} failed in {method}: {described(error)}. --debug shows where.")


def _subject(who: str) -> str:
    return who[:1].upper() + who[1:]


@contextmanager
def _thread_errors() -> Iterator[list[BaseException]]:
    """Errors that end threads started within the block; without this, Python prints a traceback and work is lost silently."""
    before = set(threading.enumerate())
    hook = threading.excepthook
    found: list[BaseException] = []

    def note(event: threading.ExceptHookArgs) -> None:
        if event.thread in before:
            hook(event)
        elif event.exc_value is not None and not isinstance(event.exc_value, SystemExit):
            found.append(event.exc_value)

    threading.excepthook = note
    try:
        yield found
    finally:
        threading.excepthook = hook


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Signal handlers and timers put back afterwards; gives a function that says whether Ctrl-C or SIGTERM came meanwhile.

    Python writes the number of every signal into a pipe before any handler runs, so that a plugin's own KeyboardInterrupt can be told
    from a real one whatever handlers are installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: True
        return
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    timers = {timer: (signal.getitimer(timer)[0], clock()) for timer, clock in _TIMERS.items()}
    read_end, write_end = (_own(number) for number in os.pipe())
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    outer = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    seen: set[int] = set()

    def came() -> bool:
        with contextlib.suppress(OSError):
            numbers = os.read(read_end, 4096)
            seen.update(numbers)
            if outer >= 0:
                os.write(outer, numbers)
        return any(int(number) in seen for number in _WATCHED)

    try:
        yield came
    finally:
        signal.set_wakeup_fd(outer, warn_on_full_buffer=False)
        came()
        _close(read_end)
        _close(write_end)
        for timer, (left_before_s, started_s) in timers.items():
            left_s = max(left_before_s - (_TIMERS[timer]() - started_s), _LEAST_TIMER_S) if left_before_s else 0.0
            # One that did not run must stand still, however soon it would end; one that has ended meanwhile has ended.
            found_s = signal.getitimer(timer)[0]
            if (found_s and not left_s) or abs(found_s - left_s) > _TIMER_TOLERANCE_S:
                signal.setitimer(timer, left_s)
        for number, handler in handlers.items():
            # None stands for a handler that Python did not set and cannot set again.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _process_state() -> Iterator[None]:
    """Defaults of the process and of libraries that a plugin may change for everybody, put back afterwards."""
    folder = _own(os.open(".", os.O_RDONLY))
    umask = os.umask(0o022)
    os.umask(umask)
    recursion, disabled = sys.getrecursionlimit(), logging.root.manager.disable
    hooks = sys.excepthook, sys.unraisablehook
    filters = warnings.filters[:]
    places, modules = {name: (getattr(sys, name), list(getattr(sys, name))) for name in _IMPORT_LISTS}, dict(sys.modules)
    # Neither library is imported for its defaults; one that the plugin brings in gets those that it starts with.
    numpy: Any = sys.modules.get("numpy")
    errors = _NUMPY_ERRORS if numpy is None else numpy.geterr()
    torch: Any = sys.modules.get("torch")
    dtype, has_gradients = (torch.get_default_dtype(), torch.is_grad_enabled()) if torch is not None else (None, True)
    try:
        yield
    finally:
        for name, (kept, content) in places.items():
            _complete(name, kept, content)
        # There are thousands, and nearly always all are still there: asked without a step of Python for each.
        if any(map(is_, map(sys.modules.get, modules), repeat(None))):
            sys.modules.update({name: module for name, module in modules.items() if sys.modules.get(name) is None})
        if _is_ours(folder):
            os.fchdir(folder)
        _close(folder)
        os.umask(umask)
        sys.setrecursionlimit(recursion)
        logging.disable(disabled)
        sys.excepthook, sys.unraisablehook = hooks
        if warnings.filters != filters:
            warnings.resetwarnings()
            warnings.filters[:] = filters  # type: ignore[index]
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.seterr(**errors)
        torch = sys.modules.get("torch")
        if torch is not None:
            wanted = torch.float32 if dtype is None else dtype
            if torch.get_default_dtype() != wanted:
                torch.set_default_dtype(wanted)
            torch.set_grad_enabled(has_gradients)


_IMPORT_LISTS = ("path", "meta_path", "path_hooks")


def _complete(name: str, kept: list[Any], content: list[Any]) -> None:
    """Make a list of `sys` the same object again, with all that it held; what a plugin has added stays, as its imports may need it."""
    now = getattr(sys, name, None)
    added = [entry for entry in now if entry not in content] if isinstance(now, list) else []
    if now is not kept or any(entry not in now for entry in content):
        kept[:] = added + content
        setattr(sys, name, kept)


class _Unclosable(io.TextIOBase):
    """Writes through to another stream and survives `close`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Nothing: the stream is the harness's."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> Any:
        return self._stream.buffer


@contextmanager
def _streams() -> Iterator[None]:
    """Prints go to stderr, from Python and from C, so that stdout holds results alone; closed streams are there again afterwards."""
    out, err = sys.stdout, sys.stderr
    _flush(out)
    kept = [(number, _own(os.dup(number))) for number in (1, 2) if _is_open(number)]
    if len(kept) == 2:
        os.dup2(2, 1)
    sys.stdout, sys.stderr = _Unclosable(err), _Unclosable(err)
    try:
        yield
    finally:
        # What libraries hold back in buffers of their own must leave before stdout is itself again.
        _flush(out)
        for number, copy in kept:
            if _is_ours(copy):
                os.dup2(copy, number)
            _close(copy)
        sys.stdout, sys.stderr = _reopened(out, 1), _reopened(err, 2)


def _own(number: int) -> int:
    """The descriptor, which is watched from now on."""
    _owned[number] = os.fstat(number)
    return number


def _close(number: int) -> None:
    """Close a descriptor that `_own` was given, unless somebody did and the number is another's now."""
    if _is_ours(number):
        os.close(number)
    del _owned[number]


def _is_ours(number: int) -> bool:
    """Whether a descriptor that `_own` was given still leads where it led."""
    try:
        return os.path.samestat(os.fstat(number), _owned[number])
    except OSError:
        return False


@contextmanager
def _files(who: str, method: str) -> Iterator[None]:
    """End a process in which a plugin has closed files at random: locks, logs and results may be among them, and none can be had back."""
    try:
        yield
    finally:
        if not all(map(_is_ours, list(_owned))):
            text = f"{_subject(who)} closed files in {method} that it had not opened. Close files by the objects that opened them."
            if _watchers:  # whoever watches says it and keeps the run; here hardly a line could be written
                with contextlib.suppress(OSError, ValueError):
                    tell(text)
                os._exit(1)
            raise PluginFailed(text)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _flush(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)


def _reopened(stream: Any, number: int) -> Any:
    """The stream, or a new one on the same file where somebody closed it."""
    if getattr(stream, "closed", False) and _is_open(number):
        return os.fdopen(os.dup(number), "w", encoding="utf-8", buffering=1)
    return stream
