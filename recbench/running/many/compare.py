"""A comparison: models x data sets x seeds, each cell in a process of its own."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from recbench.core.errors import BadRequest, nearest
from recbench.running.host.machine import refuse_too_many
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors import EXECUTORS, Executor, Report, Work, open_executor, work_through
from recbench.running.requests import MOST_JOBS, MOST_SEEDS, MOST_THREADS, Cell, CompareRequest, RunRequest, refuse_count

log = logging.getLogger(__name__)


def cells_of(request: CompareRequest) -> list[Cell]:
    """The matrix, data set by data set, then model by model, then seed by seed."""
    cells = []
    for dataset in request.datasets:
        for model in request.models:
            name, _, preset = model.partition(":")
            cells += [Cell(name, preset or None, dataset, seed, "waiting") for seed in range(request.seeds)]
    return cells


def compare_request(request: CompareRequest, workplace: Workplace, on_change: Callable[[list[Cell]], None]) -> list[Cell]:
    """Run every cell that has no finished record; a failed cell stops no other.

    Args:
        request: which cells, how many at a time, where.
        workplace: shared by all cells.
        on_change: is told of every change of a cell's state, and of progress within cells.

    Returns:
        The cells, `done` with their folder or `failed` with the reason.
    """
    _check(request)
    executor = open_executor(request, workplace)
    try:
        return _run_cells(request, executor, on_change)
    finally:
        executor.close()


def _run_cells(request: CompareRequest, executor: Executor, on_change: Callable[[list[Cell]], None]) -> list[Cell]:
    cells = cells_of(request)
    since: dict[int, float] = {}

    def start(index: int) -> Work:
        since[index] = time.monotonic()
        return executor.start(_cell_request(request, cells[index]))

    def look(reports: Mapping[int, Report]) -> None:
        before = list(cells)
        for index, report in reports.items():
            if report.state == "waiting":  # for a machine, which does not count
                since[index] = time.monotonic()
            cells[index] = _as_reported(cells[index], report, time.monotonic() - since[index])
            if cells[index].state in {"done", "failed"}:
                log.info("%s: %s", cells[index], _outcome(cells[index]))
        if cells != before:
            on_change(list(cells))

    work_through(range(len(cells)), executor.at_once, start, look)
    return cells


def _as_reported(cell: Cell, report: Report, seconds: float) -> Cell:
    if report.state == "waiting":
        return replace(cell, state="waiting")
    result = report.result
    return replace(
        cell,
        state=report.state,
        folder=None if result is None else Path(result["folder"]),
        reason=report.text,
        # Whole seconds, so that a cell which only waits for the next one is no change.
        seconds=float(round(seconds)) if report.state == "running" else seconds,
        left_s=None if report.left_s is None else float(round(report.left_s)),
        is_new=result is None or result["is_new"],
    )


def _outcome(cell: Cell) -> str:
    if cell.state == "failed":
        return f"failed after {cell.seconds:.0f} s: {cell.reason}"
    return f"done in {cell.seconds:.0f} s" if cell.is_new else "was finished before"


def _check(request: CompareRequest) -> None:
    """Names and presets are checked before the first cell starts: a typing error must not show hours later."""
    from recbench import registry

    if not request.models or not request.datasets:
        raise BadRequest("A comparison needs at least one model and one data set. Name them with --models and --datasets.")
    refuse_count("--seeds", request.seeds, MOST_SEEDS)
    if request.executor == "local":
        refuse_too_many(threads=request.threads, jobs=request.jobs)
    else:  # a cluster has other machines
        refuse_count("--threads", request.threads, MOST_THREADS)
        refuse_count("--jobs", request.jobs, MOST_JOBS)
    if request.executor not in EXECUTORS:
        known = " or ".join(EXECUTORS)
        raise BadRequest(f"--executor {request.executor!r} is not known.{nearest(request.executor, EXECUTORS)} Use {known}.")
    from recbench.core.budget import Budget
    from recbench.running.run.resolve import check_task
    from recbench.tasks import task_of

    Budget.parse(request.budget)
    models = registry.models(request.plugins)
    plugins = []
    for model in request.models:
        name, _, preset = model.partition(":")
        plugins.append(models.load(name))
        plugins[-1].resolve(preset or plugins[-1].card.default.cpu, None, request.overrides)
    for dataset in request.datasets:
        task = task_of(dataset)
        task.protocol(request.protocol, request.ties)
        for plugin in plugins:
            check_task(plugin, task, models)


def _cell_request(request: CompareRequest, cell: Cell) -> RunRequest:
    return RunRequest(
        model=cell.model,
        dataset=cell.dataset,
        preset=cell.preset,
        seed=cell.seed,
        overrides=request.overrides,
        **request.common(),
    )
