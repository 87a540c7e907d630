"""`recbench compare`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import Budget, DataDir, Debug, Device, Json, Plugins, Protocol, Threads, Ties, model_cards, names, places
from recbench.cli.terminal import print_json, print_line, stderr, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from recbench.running.api import Cell

_STYLES = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red"}


@verb
def compare(
    models: Annotated[str, typer.Option("--models", "-m", help="Models, separated by commas, each NAME or NAME:PRESET.")],
    datasets: Annotated[str, typer.Option("--datasets", "-d", help="Data sets, separated by commas.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds per cell, from 0.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time. Costs are only comparable from --jobs 1; others are marked.")] = 1,
    budget: Budget = None,
    device: Device = "auto",
    threads: Threads = None,
    ties: Ties = "source",
    protocol: Protocol = "leave-one-out",
    plugin: Plugins = None,
    data_dir: DataDir = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the comparison into ./runs as well.")] = False,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Run every model on every data set, each cell in a process of its own, and compare them with paired tests.

    Only what is missing is run. A cell that fails is shown as failed, stops no other, and makes the exit code 1.

    Example: recbench compare --models popularity,item-knn,sasrec:cpu --datasets beauty,sports --seeds 3
    """
    from rich.live import Live

    from recbench.reporting import compare_runs, comparison_table, plot_comparison
    from recbench.running.api import CompareRequest
    from recbench.running.matrix import compare_request

    request = CompareRequest(
        models=names(models, "--models"),
        datasets=names(datasets, "--datasets"),
        seeds=seeds,
        jobs=jobs,
        budget=budget,
        device=device,
        threads=threads,
        ties=ties,
        protocol=protocol,
        plugins=tuple(plugin or ()),
    )
    where = places(data_dir)
    with Live(console=stderr(), auto_refresh=False) as live:
        cells = compare_request(request, where, lambda now: live.update(cell_table(now), refresh=True))
    failed = [cell for cell in cells if cell.state == "failed"]
    folders = [cell.folder for cell in cells if cell.folder is not None]
    comparison = compare_runs(folders, model_cards(plugin)) if folders else None
    if as_json:
        print_json({"cells": cells, "tests": None if comparison is None else comparison.tests})
    elif comparison is not None:
        stdout().print(comparison_table(comparison))
    if plot and comparison is not None:
        picture = plot_comparison(comparison, where.runs / "comparison.png")
        if not as_json:
            print_line(f"plot: {picture}")
    if failed:
        for cell in failed:
            typer.echo(f"Failed: {_name(cell)} on {cell.dataset}, seed {cell.seed}: {cell.reason}", err=True)
        raise typer.Exit(1)


def _name(cell: "Cell") -> str:
    return cell.model if cell.preset is None else f"{cell.model}:{cell.preset}"


def cell_table(cells: "Sequence[Cell]") -> "Table":
    """The matrix as it now stands: state, seconds and, while it runs, the last line of its log (with the time left)."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for title in ("data set", "model", "seed", "state", "seconds"):
        table.add_column(title, no_wrap=True)
    # The only column that gives way on a narrow terminal: a cell keeps to its line.
    table.add_column("")
    for cell in cells:
        state = f"[{_STYLES[cell.state]}]{cell.state}[/]"
        seconds = "" if cell.state == "waiting" else f"{cell.seconds:.0f}"
        reason = Text(cell.reason, no_wrap=True, overflow="ellipsis")
        table.add_row(escape(cell.dataset), escape(_name(cell)), str(cell.seed), state, seconds, reason)
    return table
