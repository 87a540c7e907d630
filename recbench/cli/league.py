"""`recbench league show` and `recbench league run`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import DataDir, Debug, Executor, Jobs, Json, ThreadsOfEach, names, workplace
from recbench.cli.terminal import print_json, print_line, print_note, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recbench.running.requests import Cell
    from recbench.tasks.leagues import Standing

Class = Annotated[str | None, typer.Option("--class", "-c", help="Class of data sets: small, medium or large. Default: all.")]
OneProtocol = Annotated[
    str | None, typer.Option("--protocol", help="One protocol of the league, such as leave-one-out or cold. Default: all.")
]
Kind = Annotated[str | None, typer.Option("--kind", help="untrained or learned models alone. Default: both.")]
Models = Annotated[
    str | None, typer.Option("--models", "-m", help="Some of the models alone, separated by commas, as the league names them.")
]
Datasets = Annotated[str | None, typer.Option("--datasets", "-d", help="Some of the data sets alone, separated by commas.")]


@verb
def show(
    league_class: Class = None,
    protocol: OneProtocol = None,
    kind: Kind = None,
    models: Models = None,
    datasets: Datasets = None,
    missing: Annotated[bool, typer.Option("--missing", help="Print the command of every run that is missing.")] = False,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show which runs of a league stand, here and on the boards, and how many processor hours the others may take.

    All models of a class have the same processor time, so that its rows are comparable.

    Example: recbench league show --class small --missing
    """
    parts = _standings(league_class, protocol, kind, models, datasets)
    if as_json:
        print_json(
            [
                {"class": name, "cells": len(part.cells), "missing": [cell.command for cell in part.missing], "hours_left": part.hours_left}
                for name, part in parts.items()
            ]
        )
        return
    if missing:
        for part in parts.values():
            for cell in part.missing:
                print_line(cell.command)
        return
    from rich.table import Table

    table = Table("class", "protocol", "models", "stand", "of", "hours left", box=None, header_style="bold")
    for name, part in parts.items():
        for title, of in part.by_title().items():
            done = len(of.cells) - len(of.missing)
            table.add_row(name, *title, f"{done:,}", f"{len(of.cells):,}", f"{of.hours_left:.1f}" if of.hours_left else "–")
    stdout().print(table)
    left = sum(part.hours_left for part in parts.values())
    print_line(f"{sum(len(part.missing) for part in parts.values()):,} runs are missing, at most {left:.1f} processor hours of training.")


@verb
def run(
    league_class: Annotated[str, typer.Option("--class", "-c", help="Class of data sets: small, medium or large.")],
    protocol: OneProtocol = None,
    kind: Kind = None,
    models: Models = None,
    datasets: Datasets = None,
    jobs: Jobs = None,
    executor: Executor = "local",
    threads: ThreadsOfEach = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Run what is missing of a league on the CPU, each run in a process of its own; after a stop or a kill the same command goes on.

    A run that is refused or fails stops no other, and makes the exit code 1.

    Example: recbench league run --class small --kind untrained
    """
    import time

    from recbench.cli.compare import cell_table
    from recbench.cli.live import LiveTable, progress_line
    from recbench.running.many.league import run_league
    from recbench.running.requests import CompareRequest

    (part,) = _standings(league_class, protocol, kind, models, datasets).values()
    print_note(f"{len(part.missing):,} of {len(part.cells):,} runs are missing, at most {part.hours_left:.1f} processor hours of training.")
    request = CompareRequest((), (), jobs=jobs, executor=executor, device="cpu", threads=threads)
    start = time.monotonic()

    def display(cells: "Sequence[Cell]") -> None:
        running = (progress_line(cell, cell.reason, cell.left_s) for cell in cells if cell.state == "running")
        live.show(cell_table(cells, time.monotonic() - start), running)

    with LiveTable(stays=True) as live:
        cells = run_league(part.missing, request, workplace(data_dir), display)
    failed = [cell for cell in cells if cell.state == "failed"]
    if as_json:
        print_json(cells)
    else:
        print_line(f"{len(cells) - len(failed):,} runs are done; `recbench leaderboard publish` puts them on the boards.")
    for cell in failed:
        print_note(f"Failed: {cell}: {cell.reason}")
    if failed:
        raise typer.Exit(1)


def _standings(
    league_class: str | None, protocol: str | None, kind: str | None, models: str | None, datasets: str | None
) -> "dict[str, Standing]":
    from recbench.running.many.league import standings

    chosen = [None if text is None else names(text, option) for option, text in (("--models", models), ("--datasets", datasets))]
    return standings(workplace(), league_class, protocol, kind, *chosen)
