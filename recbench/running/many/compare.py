"""A comparison: models x data sets x seeds, each cell in a process of its own."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from recbench import registry
from recbench.core.durations import duration
from recbench.core.errors import BadRequest
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors import Executor, OpenExecutor, Report, work_through
from recbench.running.many.executors.local import LocalExecutor
from recbench.running.requests import MOST_SEEDS, Cell, CompareRequest, RunRequest, refuse_count

log = logging.getLogger(__name__)


def cells_of(request: CompareRequest) -> list[Cell]:
    """The matrix, data set by data set, then model by model, then seed by seed."""
    cells = []
    for dataset in request.datasets:
        for model in request.models:
            name, _, preset = model.partition(":")
            cells += [Cell(name, preset or None, dataset, seed, "waiting") for seed in range(request.seeds)]
    return cells


def compare_request(
    request: CompareRequest, workplace: Workplace, on_change: Callable[[list[Cell]], None], cells: Sequence[Cell] | None = None
) -> list[Cell]:
    """Run every cell that has no finished record; a failed cell stops no other.

    Args:
        request: which cells, how many at a time, where.
        workplace: shared by all cells.
        on_change: called with all cells when one has changed or made progress.
        cells: some cells of the matrix, in the order to run them; None: all.

    Returns:
        The cells, `done` with their folder or `failed` with the reason.
    """
    open_executor: OpenExecutor = registry.executors().load(request.executor)
    _check(request)
    with closing(open_executor(request, workplace)) as executor:
        return _run_cells(request, executor, workplace, on_change, cells_of(request) if cells is None else list(cells))


def _run_cells(
    request: CompareRequest, executor: Executor, workplace: Workplace, on_change: Callable[[list[Cell]], None], cells: list[Cell]
) -> list[Cell]:
    since: dict[int, float] = {}
    # Another machine may choose another device or precision, which makes another run.
    if isinstance(executor, LocalExecutor):
        for index, cell in enumerate(cells):
            cells[index] = _looked_up(request, cell, workplace)
            if cells[index].state == "done":
                log.info("%s: %s", cell, _outcome(cells[index]))
                on_change(list(cells))

    def request_of(index: int) -> RunRequest:
        since[index] = time.monotonic()
        return _cell_request(request, cells[index])

    def reported(index: int, report: Report) -> Cell:
        if report.state == "waiting":  # for a machine, which does not count
            since[index] = time.monotonic()
        cell = _as_reported(cells[index], report, time.monotonic() - since[index])
        if cell.state in {"done", "failed"}:
            log.info("%s: %s", cell, _outcome(cell))
        return cell

    missing = [index for index, cell in enumerate(cells) if cell.state != "done"]
    work_through(executor, "run", missing, request_of, cells, reported, on_change)
    return cells


def _looked_up(request: CompareRequest, cell: Cell, workplace: Workplace) -> Cell:
    """The cell as done where its finished run is here already; nothing is started for it."""
    from recbench.running.run.execute import standing_run

    found = standing_run(_cell_request(request, cell), workplace)
    return cell if found is None else replace(cell, state="done", folder=found.folder, is_new=False)


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
        return f"failed after {duration(cell.seconds)}: {cell.reason}"
    return f"done in {duration(cell.seconds)}" if cell.is_new else "was finished before"


def _check(request: CompareRequest) -> None:
    """Check names and presets before the first cell starts: a typing error must not show hours later."""
    if not request.models or not request.datasets:
        raise BadRequest("A comparison needs at least one model and one data set. Name them with --models and --datasets.")
    refuse_count("--seeds", request.seeds, MOST_SEEDS)
    from recbench.core.budget import Budget
    from recbench.running.run.consumption import check_measures
    from recbench.running.run.resolve import check_task
    from recbench.running.tracking import Trackers
    from recbench.tasks import task_of

    Budget.parse(request.budget)
    Trackers(request.track, Path())
    check_measures(request.measure)
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
        config_file=cell.config_file,
        overrides=request.overrides,
        measure=request.measure,
        **request.common(),
        **request.watched(),
    )
