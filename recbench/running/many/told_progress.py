"""Reports of the current step of a run, for the process that started it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from recbench.core.durations import seconds_left
from recbench.core.progress import Progress, Task

_EVERY_S = 0.5


@dataclass(frozen=True)
class Step:
    """One piece of work in progress.

    Attributes:
        text: title and details of the step, such as `training: loss 2.31`.
        left_s: seconds it will still take at the pace so far; None while nobody can say.
    """

    text: str
    left_s: float | None


class TellingProgress:
    """Hands everything on to another progress, and tells the outermost step whose end can be foreseen, at most twice a second.

    After the last step None is told.
    """

    def __init__(self, shown: Progress, tell: Callable[[Step | None], None]) -> None:
        self._shown = shown
        self._tell = tell
        self._open: list[_ToldTask] = []
        self._told_at = float("-inf")

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator[Task]:
        with self._shown.task(title, total) as shown:
            told = _ToldTask(shown, title, total, self._changed)
            self._open.append(told)
            self._changed()
            try:
                yield told
            finally:
                self._open.remove(told)
                if not self._open:
                    self._told_at = float("-inf")
                    self._tell(None)

    def _changed(self) -> None:
        now = time.monotonic()
        if now - self._told_at >= _EVERY_S:
            self._told_at = now
            steps = [task.step() for task in self._open]
            self._tell(next((step for step in steps if step.left_s is not None), steps[0]))


class _ToldTask:
    def __init__(self, shown: Task, title: str, total: float | None, changed: Callable[[], None]) -> None:
        self._shown, self._title, self._total, self._changed = shown, title, total, changed
        self._done, self._info = 0.0, ""
        self._start = time.monotonic()

    def step(self) -> Step:
        """Current state of this piece of work."""
        text = f"{self._title}: {self._info}" if self._info else self._title
        return Step(text, seconds_left(self._start, self._done, self._total))

    def advance(self, n: float = 1) -> None:
        self._shown.advance(n)
        self._done += n
        self._changed()

    def show(self, text: str) -> None:
        self._shown.show(text)
        self._info = text

    def total(self, total: float) -> None:
        self._shown.total(total)
        self._total = total
