"""Progress of long work, with time left; a bar on a terminal and in a notebook, plain lines elsewhere."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from recbench.core.durations import duration, seconds_left

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichBar

log = logging.getLogger(__name__)
_LINE_EVERY_S = 30.0


class Task(Protocol):
    """One piece of work in progress."""

    def advance(self, n: float = 1) -> None:
        """`n` more units are done."""

    def show(self, text: str) -> None:
        """Replace what stands behind the bar: loss, metric, rate."""

    def total(self, total: float) -> None:
        """Correct how much there is to do."""


def finite(total: float) -> float | None:
    """How much there is to do, as a display takes it; None where nobody knows yet."""
    return total if math.isfinite(total) else None


class Progress(Protocol):
    """Display of how far work is."""

    def task(self, title: str, total: float | None = None) -> AbstractContextManager[Task]:
        """A context manager that yields a `Task` and closes it at the end."""


class _BarTask:
    def __init__(self, bar: "RichBar", title: str, total: float | None) -> None:
        self._bar = bar
        self._id = bar.add_task(title, total=total, info="")

    def advance(self, n: float = 1) -> None:
        self._bar.advance(self._id, n)

    def show(self, text: str) -> None:
        self._bar.update(self._id, info=text)

    def total(self, total: float) -> None:
        self._bar.update(self._id, total=total)


class _LineTask:
    """Display where no terminal listens: a log line now and then, with time left."""

    def __init__(self, title: str, total: float | None) -> None:
        self._title, self._total, self._done, self._info = title, total, 0.0, ""
        self._start = self._last = time.monotonic()

    def advance(self, n: float = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_S:
            self._last = now
            left_s = seconds_left(self._start, self._done, self._total)
            left = "" if left_s is None else f", {duration(left_s)} left"
            of = f"/{self._total:g}" if self._total else ""
            log.info("%s: %g%s%s%s", self._title, self._done, of, f", {self._info}" if self._info else "", left)

    def show(self, text: str) -> None:
        self._info = text

    def total(self, total: float) -> None:
        self._total = total


def _new_bar(console: "Console") -> "RichBar":
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichBar

    from recbench.core.notebook_bar import NotebookBar

    kind = NotebookBar if console.is_jupyter else RichBar
    return kind(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}", markup=False),
        console=console,
        transient=True,
    )


class ConsoleProgress:
    """Bars on a terminal and in a notebook, log lines elsewhere. Tasks may nest."""

    def __init__(self, console: "Console | None" = None) -> None:
        from recbench.core.console import VisibleConsole

        self._console = console or VisibleConsole(stderr=True)
        self._bar: RichBar | None = None
        self._depth = 0

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator[Task]:
        if not (self._console.is_terminal or self._console.is_jupyter):
            yield _LineTask(title, total)
            return
        if self._bar is None:
            self._bar = _new_bar(self._console)
        if self._depth == 0:
            self._bar.start()
        self._depth += 1
        bar = self._bar
        task = _BarTask(bar, title, total)
        try:
            yield task
        finally:
            bar.remove_task(task._id)
            self._depth -= 1
            if self._depth == 0:
                bar.stop()
                if not self._console.is_jupyter:  # where each new one would leave an empty line
                    self._bar = None


class _NoTask:
    def advance(self, n: float = 1) -> None:
        pass

    def show(self, text: str) -> None:
        pass

    def total(self, total: float) -> None:
        pass


class SilentProgress:
    """Says nothing."""

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator[Task]:  # noqa: ARG002
        yield _NoTask()
