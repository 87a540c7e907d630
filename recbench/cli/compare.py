"""`recbench compare`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import Budget, DataDir, Debug, Device, Json, Plugins, Protocol, Threads, Ties, names, places
from recbench.cli.terminal import print_json, stderr, stdout, verb

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

    from recbench.running.api import CompareRequest, compare_request

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
    raise NotImplementedError(cells, plot, as_json, print_json, stdout)


def cell_table(cells: "Sequence[Cell]") -> "Table":
    """The matrix as it now stands: state, seconds and, while it runs, the last line of its log (with the time left)."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("data set", "model", "seed", "state", "seconds", "", box=None, header_style="bold")
    for cell in cells:
        name = cell.model if cell.preset is None else f"{cell.model}:{cell.preset}"
        state = f"[{_STYLES[cell.state]}]{cell.state}[/]"
        seconds = "" if cell.state == "waiting" else f"{cell.seconds:.0f}"
        table.add_row(escape(cell.dataset), escape(name), str(cell.seed), state, seconds, escape(cell.reason))
    return table
