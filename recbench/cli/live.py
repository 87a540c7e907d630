"""Work in progress on stderr: a table that is redrawn in place on a terminal, lines now and then in a file."""

import logging
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from recbench.cli.terminal import stderr

if TYPE_CHECKING:
    from rich.console import RenderableType

STATE_STYLES = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red", "pruned": "yellow"}
_LINES_EVERY_S = 60.0
log = logging.getLogger(__name__)


class LiveTable:
    """Used as a with statement; `show` may be called as often as anything changes."""

    def __init__(self, *, stays: bool) -> None:
        """Not shown before the first `show`.

        Args:
            stays: whether the last table is left standing at the end.
        """
        from rich.live import Live

        self._console = stderr()
        self._stays = stays
        self._live = Live(console=self._console, auto_refresh=False, transient=not stays)
        self._table: RenderableType | None = None
        self._told_at = time.monotonic()

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif self._stays and self._table is not None:
            self._console.print(self._table)

    def show(self, table: "RenderableType", running: Iterable[str]) -> None:
        """The work as it now stands.

        Args:
            table: all of it.
            running: a line for each piece that runs, for where there is no terminal.
        """
        self._table = table
        if self._console.is_terminal:
            self._live.update(table, refresh=True)
        elif time.monotonic() - self._told_at >= _LINES_EVERY_S:
            self._told_at = time.monotonic()
            for line in running:
                log.info("%s", line)


def progress_line(what: object, step: str, left_s: float | None) -> str:
    """Such as `sasrec on beauty, seed 0: training: loss 6.31, 12 min left`."""
    from recbench.core.durations import duration

    return f"{what}: {step or 'at work'}" + ("" if left_s is None else f", {duration(left_s)} left")
