"""Contract between a comparison or a search and the place where its runs are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from recbench.running.requests import RunRequest


@dataclass(frozen=True)
class Report:
    """How a piece of work stands.

    Attributes:
        state: `waiting` for a machine, `running`, `done` or `failed`.
        result: what came of it, as `recbench.running.many.worker` tells it; None before its end and where it failed.
        text: what it does now, or why it failed.
        left_s: seconds that what it does now will still take; None while nobody can say.
    """

    state: Literal["waiting", "running", "done", "failed"]
    result: Mapping[str, Any] | None = None
    text: str = ""
    left_s: float | None = None


class Work(Protocol):
    """A cell or a trial that was started."""

    def report(self) -> Report:
        """How it stands now; does not wait."""

    def stop(self) -> None:
        """Ask it to write its checkpoint and end."""

    def join(self) -> None:
        """Wait for that, a minute at most; what has not ended by then is killed."""


class Executor(Protocol):
    """Starts cells."""

    @property
    def at_once(self) -> int | None:
        """How many cells to start before one of them ends; None: all, the executor lets them wait."""

    def start(self, request: RunRequest) -> Work:
        """Start a cell. How many threads it has, and how many cells share its machine, is the executor's to say."""

    def close(self) -> None:
        """Give back what the executor holds, once no cell runs any more."""
