"""Jobs for reckoners, done in processes of their own where there are many; see `recbench.reporting.worker`."""

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

import recbench.core.errors as errors
from recbench.core.errors import RecbenchError, StageFailed
from recbench.core.ranking import View
from recbench.core.records import Interval
from recbench.evaluation import Tested
from recbench.reporting.reckoner import Measured, Reckoner, RunFiles

RECORDS_PER_PROCESS = 16
"""A process takes as long to start as so many records take to be computed: for fewer none is started."""
_AHEAD = 8
"""Jobs given out per process while the answer to an earlier one is awaited."""
ERROR = "error "
"""Before an answer that is an error: its class and message."""
Answer = TypeVar("Answer")


class _Job(BaseModel, Generic[Answer]):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def answer(self, reckoner: Reckoner) -> Answer:
        """The answer, computed here."""
        raise NotImplementedError


class MeasureJob(_Job[Measured]):
    """All figures of a run."""

    kind: Literal["measure"] = "measure"
    run: RunFiles

    def answer(self, reckoner: Reckoner) -> Measured:
        return reckoner.measure(self.run)


class MeanJob(_Job[float]):
    """Mean of a metric over the runs of a row."""

    kind: Literal["mean"] = "mean"
    runs: tuple[RunFiles, ...]
    metric: str
    view: View

    def answer(self, reckoner: Reckoner) -> float:
        return reckoner.mean(self.runs, self.metric, self.view)


class SpreadJob(_Job[Interval]):
    """Mean of a metric over the runs of a row with its interval over users and seeds."""

    kind: Literal["spread"] = "spread"
    runs: tuple[RunFiles, ...]
    metric: str
    view: View

    def answer(self, reckoner: Reckoner) -> Interval:
        return reckoner.spread(self.runs, self.metric, self.view)


class PairJob(_Job[Tested]):
    """Paired tests of the runs of one row against those of another."""

    kind: Literal["pair"] = "pair"
    best: tuple[RunFiles, ...]
    other: tuple[RunFiles, ...]
    metric: str
    view: View

    def answer(self, reckoner: Reckoner) -> Tested:
        return reckoner.test(self.best, self.other, self.metric, self.view)


JOB: TypeAdapter[MeasureJob | MeanJob | SpreadJob | PairJob] = TypeAdapter(MeasureJob | MeanJob | SpreadJob | PairJob)
ANSWERS: dict[type[_Job[Any]], TypeAdapter[Any]] = {
    MeasureJob: TypeAdapter(Measured),
    MeanJob: TypeAdapter(float),
    SpreadJob: TypeAdapter(Interval),
    PairJob: TypeAdapter(Tested),
}


class Workers:
    """Does jobs in several processes, which it ends when it is left."""

    def __init__(self, jobs: int, n_records: int) -> None:
        """At most `jobs` processes at a time for this many records; see `RECORDS_PER_PROCESS`."""
        n_processes = min(jobs, n_records // RECORDS_PER_PROCESS)
        self._here = Reckoner()
        self._processes = [_Process() for _ in range(n_processes)] if n_processes > 1 else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.end()

    def answers(self, jobs: Iterable[_Job[Answer]]) -> Iterator[Answer]:
        """The answers in the order of the jobs; jobs on one split should stand side by side.

        Raises:
            RecbenchError: what a job raised, when its answer is due.
            StageFailed: a process ended early.
        """
        if not self._processes:
            for job in jobs:
                yield job.answer(self._here)
            return
        busy: dict[IO[str], tuple[_Process, int]] = {}
        try:
            yield from self._answers_of_processes(enumerate(jobs), busy)
        finally:
            for process, _ in busy.values():
                process.answers.readline()  # nobody waits for it any more; the next job's answer comes after it

    def _answers_of_processes(
        self, jobs: Iterator[tuple[int, _Job[Answer]]], busy: "dict[IO[str], tuple[_Process, int]]"
    ) -> Iterator[Answer]:
        due = 0
        found: dict[int, Answer | RecbenchError] = {}
        idle, is_more = list(self._processes), True
        while is_more or busy:
            while idle and is_more and len(busy) + len(found) < _AHEAD * len(self._processes):
                following = next(jobs, None)
                if following is None:
                    is_more = False
                    break
                number, job = following
                process = idle.pop()
                process.give(job)
                busy[process.answers] = process, number
            ready, _, _ = select.select(list(busy), [], []) if busy else ([], [], [])
            for stream in ready:
                process, number = busy.pop(stream)
                found[number] = process.take()
                idle.append(process)
            while due in found:
                answer = found.pop(due)
                due += 1
                if isinstance(answer, RecbenchError):
                    raise answer
                yield answer


class _Process:
    """A worker, and the job that it has."""

    def __init__(self) -> None:
        # -P keeps the current folder off the path, so that a checkout's `datasets/` hides no library of that name.
        command = [sys.executable, "-P", "-m", "recbench.reporting.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs: IO[str] = self._process.stdin
        self.answers: IO[str] = self._process.stdout
        self._job: _Job[Any] | None = None

    def give(self, job: _Job[Any]) -> None:
        """Start a job; the one before must have been taken."""
        self._job = job
        with contextlib.suppress(BrokenPipeError):  # it has ended, as `take` will say
            self._jobs.write(job.model_dump_json() + "\n")
            self._jobs.flush()

    def take(self) -> Any:
        """The answer to the job, or the error that it raised."""
        line = self.answers.readline()
        if not line or self._job is None:
            status = self._process.wait()
            raise StageFailed(f"A process that computes figures ended early, with status {status}. Give fewer of them with --jobs.")
        if line.startswith(ERROR):
            kind, message = json.loads(line.removeprefix(ERROR))
            return getattr(errors, kind, RecbenchError)(message)
        return ANSWERS[type(self._job)].validate_json(line)

    def end(self) -> None:
        """Close its input and wait for its end."""
        with contextlib.suppress(BrokenPipeError):
            self._jobs.close()
        self.answers.close()
        self._process.wait()
