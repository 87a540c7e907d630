"""`recbench submit`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import Debug, Json, Plugins, existing_boards, known_of_submissions, run_folder, workplace
from recbench.cli.terminal import print_json, print_line, print_note, verb


@verb
def submit(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders, run ids or starts of them, or `last`.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="New folder to write.")] = Path("submission"),
    boards: Annotated[
        Path | None, typer.Option(help="Folder of the leaderboards to check against. Default: ./leaderboards, where it is there.")
    ] = None,
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Write the records of finished runs, or of imported lists, into a folder for a pull request, and check it as it will be checked there.

    Example: recbench submit last --output submissions/me
    """
    from recbench import reporting
    from recbench.core.commands import command_line

    here = workplace().boards
    where = existing_boards(boards) if boards is not None else here if here.is_dir() else None
    # What only a maintainer can say yes to is told, and no fault.
    known = known_of_submissions(where, plugin, new_split=True, replace=True)
    report = reporting.write_submission(output, [run_folder(run) for run in runs], known)
    if as_json:
        print_json({"folder": output, "report": report})
        return
    for note in report.notes:
        print_note(note)
    if known.boards is None:
        print_note("No leaderboards lie here: split and copies are looked at where the pull request is checked.")
    print_line(f"{report.counted} that follow from their ranks: {output}")
    print_line("To hand them in: copy the folder below submissions/ of your fork of recbench, commit it and open a pull request.")
    print_line(f"It is checked there by: {command_line('leaderboard', 'check', f'submissions/{output.name}')}")
