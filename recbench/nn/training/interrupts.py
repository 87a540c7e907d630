"""SIGTERM and Ctrl-C while a model trains: noted, and obeyed at the next moment that loses nothing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class StopNow(BaseException):
    """Leaves work that may be abandoned, such as a validation. Not an `Exception`, so that no model's handler swallows it."""


class StopSignals:
    """Takes SIGTERM and Ctrl-C over while the block runs. A second Ctrl-C stops at once.

    Outside the main thread, where Python allows no handlers, nothing is taken over.

    Attributes:
        received: name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._may_break = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that Python did not set and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """A signal leaves this block at once with `StopNow`."""
        if self.received is not None:
            raise StopNow
        self._may_break = True
        try:
            yield
        finally:
            self._may_break = False

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if self._may_break:
            self._may_break = False
            raise StopNow
