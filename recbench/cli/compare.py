"""`recbench compare`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import (
    Budget,
    DataDir,
    Debug,
    Device,
    Executor,
    Jobs,
    Json,
    Measure,
    Plugins,
    Protocol,
    ThreadsOfEach,
    Ties,
    Track,
    model_cards,
    names,
    workplace,
)
from recbench.cli.terminal import print_json, print_line, print_note, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from recbench.running.requests import Cell


@verb
def compare(
    models: Annotated[str, typer.Option("--models", "-m", help="Models, separated by commas, each NAME or NAME:PRESET.")],
    datasets: Annotated[str, typer.Option("--datasets", "-d", help="Data sets, separated by commas.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds per cell, from 0.")] = 1,
    jobs: Jobs = None,
    executor: Executor = "local",
    budget: Budget = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="One setting of every model, as key=value. Repeatable. Wins over presets.")
    ] = None,
    device: Device = "auto",
    threads: ThreadsOfEach = None,
    ties: Ties = "source",
    protocol: Protocol = None,
    plugin: Plugins = None,
    track: Track = None,
    measure: Measure = None,
    data_dir: DataDir = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw intervals, and quality against seconds of training, into ./runs/comparison.png.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Run every model on every data set, each cell in a process of its own, and compare them with paired tests.

    Only what is missing is run. A cell that fails is shown as failed, stops no other, and makes the exit code 1.
    With --budget every cell may spend the same, auxiliary trainings included (docs/protocol.md says what a budget covers).

    Example: recbench compare --models popularity,item-knn,sasrec:cpu --datasets beauty,sports --seeds 3
    """
    import time

    from recbench.cli.live import LiveTable, progress_line
    from recbench.core.config import parse_assignment
    from recbench.reporting import compare_runs, comparison_table, plot_comparison
    from recbench.running.many.compare import compare_request
    from recbench.running.requests import CompareRequest

    request = CompareRequest(
        models=names(models, "--models"),
        datasets=names(datasets, "--datasets"),
        seeds=seeds,
        jobs=jobs,
        executor=executor,
        budget=budget,
        device=device,
        threads=threads,
        ties=ties,
        protocol=protocol,
        plugins=tuple(plugin or ()),
        track=tuple(track or ()),
        measure=() if measure is None else names(measure, "--measure"),
        overrides=dict(parse_assignment(text) for text in overrides or ()),
    )
    where = workplace(data_dir)
    start = time.monotonic()

    def show(cells: "Sequence[Cell]") -> None:
        running = (progress_line(cell, cell.reason, cell.left_s) for cell in cells if cell.state == "running")
        live.show(cell_table(cells, time.monotonic() - start), running)

    with LiveTable(stays=True) as live:
        cells = compare_request(request, where, show)
    failed = [cell for cell in cells if cell.state == "failed"]
    folders = [cell.folder for cell in cells if cell.folder is not None]
    comparison = compare_runs(folders, model_cards(plugin)) if folders else None
    if as_json:
        print_json({"cells": cells, "tests": None if comparison is None else comparison.tests})
    elif comparison is not None:
        stdout().print(comparison_table(comparison), crop=False)
    if plot and comparison is not None:
        picture = plot_comparison(comparison, where.runs / "comparison.png")
        if not as_json:
            print_line(f"plot: {picture}")
    if failed:
        for cell in failed:
            print_note(f"Failed: {cell}: {cell.reason}")
        raise typer.Exit(1)


def cell_table(cells: "Sequence[Cell]", elapsed_s: float) -> "RenderableType":
    """The matrix as it now stands: state, seconds, time left of what a cell does now, and what that is; counts below."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from recbench.cli.live import STATE_STYLES
    from recbench.core.durations import duration

    table = Table(box=None, header_style="bold")
    for title in ("data set", "model", "seed", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("seconds", "left"):
        table.add_column(title, no_wrap=True, justify="right")
    # The only column that gives way on a narrow terminal: a cell keeps to its line.
    table.add_column("")
    for cell in cells:
        state = f"[{STATE_STYLES[cell.state]}]{cell.state}[/]"
        # A run that was there already cost its seconds then, not now.
        seconds = "" if cell.state == "waiting" or not cell.is_new else f"{cell.seconds:.0f}"
        left = "" if cell.left_s is None else duration(cell.left_s)
        note = Text(cell.reason if cell.is_new else "was finished before", no_wrap=True, overflow="ellipsis")
        table.add_row(escape(cell.dataset), escape(cell.row_name), str(cell.seed), state, seconds, left, note)
    counts = [f"{sum(cell.state == state for cell in cells)} {state}" for state in STATE_STYLES if state != "pruned"]
    return Group(table, Text(f"{', '.join(counts)}; {duration(elapsed_s)}", style="dim"))
