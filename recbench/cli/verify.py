"""`recbench verify`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import Debug, Json, Plugins, Processes, existing_boards, model_cards, processes
from recbench.cli.terminal import print_json, print_line, verb


@verb
def verify(
    boards: Annotated[Path | None, typer.Option(help="Folder of the leaderboards. Default: ./leaderboards.")] = None,
    plugin: Plugins = None,
    jobs: Processes = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Compute every number of every leaderboard page again from the ranks behind it, and fail if one does not follow.

    Example: recbench verify
    """
    from recbench import reporting

    where, at_once = existing_boards(boards, plugin), processes(jobs)
    if as_json:
        report = reporting.inspect_boards(where, model_cards(plugin), plugin or (), at_once)
        print_json(report)
        if report.faults:
            raise typer.Exit(1)
        return
    report = reporting.verify(where, model_cards(plugin), plugin or (), at_once)
    counted = f"{report.n_pages} pages, {report.n_rows} rows, {report.n_records} records, {report.n_figures:,} figures"
    print_line(f"{counted}: all follow from their ranks")
