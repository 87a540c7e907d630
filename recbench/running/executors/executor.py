"""What a comparison asks of the place where its cells run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from recbench.running.api import RunRequest


@dataclass(frozen=True)
class Report:
    """How a cell stands.

    Attributes:
        state: `waiting` for a machine, `running`, `done` or `failed`.
        folder: of the finished run.
        is_new: False where a finished record of the same request was found.
        text: what it does now, or why it failed.
        left_s: seconds that what it does now will still take; None while nobody can say.
    """

    state: Literal["waiting", "running", "done", "failed"]
    folder: Path | None = None
    is_new: bool = True
    text: str = ""
    left_s: float | None = None


class Work(Protocol):
    """A cell that was started."""

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
