"""Contract between a comparison or a search and the place where its runs are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from recbench.running.host.workplace import Workplace
from recbench.running.many.worker import Job
from recbench.running.requests import ManyOptions, RunRequest


@dataclass(frozen=True)
class Report:
    """Current state of a run or a trial.

    Attributes:
        state: `waiting` for a machine, `running`, `done` or `failed`.
        result: its result, as `recbench.running.many.worker` writes it; None before its end and where it failed.
        text: current step, or reason of the failure.
        left_s: seconds that the current step will still take; None while nobody can say.
    """

    state: Literal["waiting", "running", "done", "failed"]
    result: Mapping[str, Any] | None = None
    text: str = ""
    left_s: float | None = None


class Work(Protocol):
    """A run or a trial that was started."""

    def report(self) -> Report:
        """Current state, without waiting."""

    def stop(self) -> None:
        """Ask it to write its checkpoint and end."""

    def join(self) -> None:
        """Wait for that, a minute at most; what has not ended by then is killed."""


class Executor(Protocol):
    """Makes runs and trials somewhere."""

    @property
    def at_once(self) -> int | None:
        """Number of runs to start before one of them ends; None: all, the executor lets them wait."""

    @property
    def threads(self) -> int:
        """Threads of each run for computing on the CPU."""

    @property
    def jobs(self) -> int:
        """Number of runs that may share a machine, for their records."""

    @property
    def device(self) -> str:
        """Kind of device that runs compute on: `cpu` or `cuda`."""

    def start(self, request: RunRequest, job: Job) -> Work:
        """Start a whole run, or a trial, which is only trained and validated. `do_job` does either in the process it is called in."""

    def close(self) -> None:
        """Release what the executor holds, once nothing runs any more."""


OpenExecutor = Callable[[ManyOptions, Workplace], Executor]
"""Opens an executor for a request; raises a `BadRequest` for what it cannot do. Its runs use the folders of the workplace."""
