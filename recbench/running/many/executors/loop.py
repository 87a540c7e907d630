"""Runs and trials with bounded concurrency."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from recbench.running.many.executors.executor import Executor, Report, Work
from recbench.running.many.worker import Job
from recbench.running.requests import RunRequest

S = TypeVar("S")
_EVERY_S = 0.1


def work_through(
    executor: Executor,
    job: Job,
    missing: Iterable[int],
    request_of: Callable[[int], RunRequest],
    states: list[S],
    reported: Callable[[int, Report], S],
    on_change: Callable[[list[S]], None],
) -> None:
    """Start jobs in order and watch them until all have ended.

    Whatever ends this early, such as Ctrl-C, ends what was started too: all are asked to write their checkpoints, at the same time.

    Args:
        executor: starts the jobs.
        job: kind of each job.
        missing: numbers of the jobs to do, which are places in `states`.
        request_of: request of a job.
        states: current states of all jobs; updated in place.
        reported: new state of a job, several times a second; one that has ended is reported once, and then no more.
        on_change: called with a copy of all states when one of them has changed.
    """
    waiting = deque(missing)
    started: dict[int, Work] = {}
    try:
        while waiting or started:
            while waiting and (executor.at_once is None or len(started) < executor.at_once):
                number = waiting.popleft()
                request = replace(request_of(number), threads=executor.threads, jobs=executor.jobs)
                started[number] = executor.start(request, job)
            reports = {number: work.report() for number, work in started.items()}
            before = list(states)
            for number, report in reports.items():
                if report.state in {"done", "failed"}:
                    del started[number]
                states[number] = reported(number, report)
            if states != before:
                on_change(list(states))
            time.sleep(_EVERY_S)
    finally:
        for work in started.values():
            work.stop()
        for work in started.values():
            work.join()
