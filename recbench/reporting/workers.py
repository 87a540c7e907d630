"""Jobs for reckoners, done in processes of their own where there are many; see `recbench.reporting.worker`."""

import contextlib
import json
import select
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import IO, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

import recbench.core.errors as errors
from recbench.core.errors import RecbenchError, StageFailed
from recbench.core.ranking import View
from recbench.core.records import Interval
from recbench.evaluation import Tested
from recbench.reporting.reckoner import Drawn, Measured, Reckoner
from recbench.reporting.run_files import RunFiles

RECORDS_PER_PROCESS = 16
"""A process takes as long to start as so many records take to be computed: for fewer none is started."""
_BATCH = 8
"""Most jobs on one split that a process does in a row: it keeps what they share."""
_AHEAD = 3 * _BATCH
"""Jobs given out per process while the answer to an earlier one is awaited."""
ERROR = "error "
"""Before an answer that is an error: its class and message."""
Answer = TypeVar("Answer")


class _Job(BaseModel, Generic[Answer]):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def split(self) -> str:
        """The split that all its runs are about."""
        raise NotImplementedError

    def answer(self, reckoner: Reckoner) -> Answer:
        """The answer, computed here."""
        raise NotImplementedError


class MeasureJob(_Job[Measured]):
    """All figures of a run."""

    kind: Literal["measure"] = "measure"
    run: RunFiles

    @property
    def split(self) -> str:
        return self.run.split

    def answer(self, reckoner: Reckoner) -> Measured:
        return reckoner.measure(self.run)


class _RowJob(_Job[Answer], Generic[Answer]):
    """Something about a metric over the runs of a row."""

    runs: tuple[RunFiles, ...]
    metric: str
    view: View

    @property
    def split(self) -> str:
        return self.runs[0].split


class MeanJob(_RowJob[float]):
    """Mean of a metric over the runs of a row."""

    kind: Literal["mean"] = "mean"

    def answer(self, reckoner: Reckoner) -> float:
        return reckoner.mean(self.runs, self.metric, self.view)


class SpreadJob(_RowJob[Interval]):
    """Mean of a metric over the runs of a row with its interval over users and seeds."""

    kind: Literal["spread"] = "spread"

    def answer(self, reckoner: Reckoner) -> Interval:
        return reckoner.spread(self.runs, self.metric, self.view)


class PairJob(_Job[Tested]):
    """Paired tests of the runs of one row against those of another."""

    kind: Literal["pair"] = "pair"
    best: tuple[RunFiles, ...]
    other: tuple[RunFiles, ...]
    metric: str
    view: View

    @property
    def split(self) -> str:
        return self.best[0].split

    def answer(self, reckoner: Reckoner) -> Tested:
        return reckoner.test(self.best, self.other, self.metric, self.view)


class DrawJob(_Job[Drawn]):
    """Means of a metric over the users of several rows of one split, in drawings of these users."""

    kind: Literal["draw"] = "draw"
    rows: list[tuple[RunFiles, ...]]
    metric: str
    view: View

    @property
    def split(self) -> str:
        return self.rows[0][0].split

    def answer(self, reckoner: Reckoner) -> Drawn:
        return reckoner.draw(self.rows, self.metric, self.view)


JOB: TypeAdapter[MeasureJob | MeanJob | SpreadJob | PairJob | DrawJob] = TypeAdapter(MeasureJob | MeanJob | SpreadJob | PairJob | DrawJob)
ANSWERS: dict[type[_Job[Any]], TypeAdapter[Any]] = {
    MeasureJob: TypeAdapter(Measured),
    MeanJob: TypeAdapter(float),
    SpreadJob: TypeAdapter(Interval),
    PairJob: TypeAdapter(Tested),
    DrawJob: TypeAdapter(Drawn),
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
        try:
            yield from self._answers_of_processes(_batches(jobs))
        finally:
            for process in self._processes:
                if process.is_busy:
                    process.take()  # nobody waits for it any more; the answer to the next job comes after it

    def _answers_of_processes(self, batches: Iterator[Sequence[tuple[int, _Job[Answer]]]]) -> Iterator[Answer]:
        due, most_ahead = 0, _AHEAD * len(self._processes)
        found: dict[int, Answer | RecbenchError] = {}
        in_hand: dict[_Process, deque[tuple[int, _Job[Answer]]]] = {process: deque() for process in self._processes}
        while True:
            for process, batch in in_hand.items():
                if not batch:
                    batch.extend(next(batches, ()))
                if batch and not process.is_busy and batch[0][0] < due + most_ahead:
                    process.give(*batch.popleft())
            busy = {process.answers: process for process in in_hand if process.is_busy}
            if not busy:
                return
            for answers in select.select(list(busy), [], [])[0]:
                number, answer = busy[answers].take()
                found[number] = answer
            while due in found:
                answer = found.pop(due)
                due += 1
                if isinstance(answer, RecbenchError):
                    raise answer
                yield answer


def _batches(jobs: Iterable[_Job[Answer]]) -> Iterator[Sequence[tuple[int, _Job[Answer]]]]:
    """Jobs with their numbers, some on one split at a time."""
    for _, of_split in groupby(enumerate(jobs), key=lambda numbered: numbered[1].split):
        while batch := list(islice(of_split, _BATCH)):
            yield batch


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
        self._job: tuple[int, _Job[Any]] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it has a job whose answer was not taken."""
        return self._job is not None

    def give(self, number: int, job: _Job[Any]) -> None:
        """Start a job, whose answer will have its number."""
        self._job = number, job
        with contextlib.suppress(BrokenPipeError):  # it has ended, as `take` will say
            self._jobs.write(job.model_dump_json() + "\n")
            self._jobs.flush()

    def take(self) -> tuple[int, Any]:
        """Number of the job, and the answer or the error that it raised."""
        assert self._job is not None
        number, job = self._job
        self._job = None
        line = self.answers.readline()
        if not line:
            status = self._process.wait()
            return number, StageFailed(f"A process that computes figures ended early, with status {status}. Try again with --jobs 1.")
        if line.startswith(ERROR):
            kind, message = json.loads(line.removeprefix(ERROR))
            return number, getattr(errors, kind, RecbenchError)(message)
        return number, ANSWERS[type(job)].validate_json(line)

    def end(self) -> None:
        """Close its input and wait for its end."""
        with contextlib.suppress(BrokenPipeError):
            self._jobs.close()
        self.answers.close()
        self._process.wait()
