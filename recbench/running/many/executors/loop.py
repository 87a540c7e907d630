"""Pieces of work one after the other, some at a time."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from recbench.running.many.executors.executor import Report, Work

_EVERY_S = 0.1


def work_through(
    numbers: Iterable[int], at_once: int | None, start: Callable[[int], Work], look: Callable[[Mapping[int, Report]], None]
) -> None:
    """Start them in order and look at them until all have ended.

    Whatever ends this early, such as Ctrl-C, ends what was started too: all are asked to write their checkpoints, at the same time.

    Args:
        numbers: of the pieces of work.
        at_once: how many to have started at a time; None: all.
        start: starts the one of that number.
        look: is given how each of the started ones stands, several times a second; one that has ended is in it once, and then no more.
    """
    waiting = deque(numbers)
    started: dict[int, Work] = {}
    try:
        while waiting or started:
            while waiting and (at_once is None or len(started) < at_once):
                number = waiting.popleft()
                started[number] = start(number)
            reports = {number: work.report() for number, work in started.items()}
            for number, report in reports.items():
                if report.state in {"done", "failed"}:
                    del started[number]
            look(reports)
            time.sleep(_EVERY_S)
    finally:
        for work in started.values():
            work.stop()
        for work in started.values():
            work.join()
