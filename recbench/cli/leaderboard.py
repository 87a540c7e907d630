"""`recbench leaderboard publish|export|remeasure|check|accept`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import (
    Debug,
    Json,
    Plugins,
    Processes,
    check_output,
    existing_boards,
    known_of_submissions,
    model_cards,
    processes,
    workplace,
)
from recbench.cli.terminal import print_json, print_line, print_note, print_text, verb

Submissions = Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders that `recbench submit` wrote.")]
NewSplit = Annotated[
    bool,
    typer.Option("--new-split", help="Take records of a split that no published record is on; its targets are then believed."),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Take newer runs of published rows and seeds, which then count in place of these.")
]
Boards = Annotated[Path | None, typer.Option(help="Folder of the leaderboards. Default: ./leaderboards.")]


@verb
def publish(
    boards: Boards = None,
    plugin: Plugins = None,
    jobs: Processes = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Take the finished runs of ./runs into leaderboards/records and write the pages anew, markdown and index.html.

    The same records give the same files. A run whose record is damaged, or whose figures do not follow from its ranks, is left out; the
    exit code is then 1, and the others are published.

    Example: recbench leaderboard publish
    """
    from recbench import reporting
    from recbench.core.errors import BadRequest
    from recbench.running.run.folders import run_folders

    if boards is not None and boards.exists() and not boards.is_dir():
        raise BadRequest(f"--boards {boards}: this is a file. Give a folder.")
    where, at_once = workplace(), processes(jobs)
    result = reporting.publish(boards or where.boards, run_folders(where.runs), model_cards(plugin), at_once)
    if as_json:
        print_json(
            {
                "written": result.written,
                "unchanged": result.unchanged,
                "removed": result.removed,
                "skipped": [
                    {"run": skipped.folder.name, "reason": skipped.reason, "is_fault": skipped.is_fault} for skipped in result.skipped
                ],
            }
        )
    else:
        for skipped in result.skipped:
            print_note(f"not published: {skipped.folder.name}: {skipped.reason}")
        for path in result.written:
            print_line(f"written: {path}")
        for path in result.removed:
            print_line(f"removed: {path}")
        print_line(f"{len(result.written)} files written, {len(result.unchanged)} pages unchanged")
    n_faults = sum(skipped.is_fault for skipped in result.skipped)
    if n_faults:
        runs = "1 run was" if n_faults == 1 else f"{n_faults} runs were"
        print_note(f"{runs} left out for a fault; all others are published. Mend or delete what is named above.")
        raise typer.Exit(1)


@verb
def export(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Data set of the board; it must have published records.")],
    file_format: Annotated[str, typer.Option("--format", help="csv: every figure in full precision. latex: a table for a paper.")] = "csv",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here instead of to stdout.")] = None,
    boards: Boards = None,
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Export one board for a spreadsheet or a paper.

    Example: recbench leaderboard export beauty --format latex --output beauty.tex
    """
    from recbench import reporting
    from recbench.core.errors import BadRequest, nearest

    if file_format not in reporting.FORMATS:
        raise BadRequest(f"--format {file_format!r} is not known.{nearest(file_format, reporting.FORMATS)} Use csv or latex.")
    if output is not None:
        check_output(output, "--output")
    board = reporting.published_board(existing_boards(boards, plugin), dataset, model_cards(plugin))
    text = reporting.export_board(board, file_format)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"dataset": dataset, "format": file_format, "file": output, "text": text})
    elif output is None:
        print_text(text)
    else:
        print_line(f"written: {output}")


@verb
def remeasure(
    boards: Boards = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Measure the finished runs in this folder anew, such as ./runs, and no board.")
    ] = None,
    plugin: Plugins = None,
    jobs: Processes = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Compute the figures of all published records again from their ranks, after the evaluator changed, and write the pages anew.

    Nothing is trained or ranked. A record that was edited, or whose files are not those it names, is refused. With --runs the runs of a
    folder are measured in place of the boards, so that older ones can be published beside new ones.

    Example: recbench leaderboard remeasure
    """
    from recbench import reporting
    from recbench.core.errors import BadRequest
    from recbench.running.host.provenance import code

    if runs is not None:
        if not runs.is_dir():
            raise BadRequest(f"--runs {runs}: there is no such folder. Give the one that holds runs, such as ./runs.")
        result = reporting.remeasure_runs(runs, code(), processes(jobs))
    else:
        result = reporting.remeasure(existing_boards(boards, plugin), model_cards(plugin), code(), processes(jobs))
    if as_json:
        print_json(result)
        return
    for path in result.written:
        print_line(f"written: {path}")
    moved = f"{result.n_values:,} means are others, {result.n_ends:,} ends of intervals moved"
    print_line(f"{result.n_records:,} records: {moved}, by {result.largest:.2f} of the interval's width at most")


@verb
def check(
    folders: Submissions,
    boards: Boards = None,
    new_split: NewSplit = False,
    replace: Replace = False,
    plugin: Plugins = None,
    jobs: Processes = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Check records that somebody hands in, as data that nobody vouches for, against the leaderboards; nothing is written.

    Names, kinds and sizes of files, sums, schema, the data set and its split, copies of other records, and every figure from its ranks.

    Example: recbench leaderboard check submissions/them
    """
    from recbench import reporting

    at_once = processes(jobs)
    known = known_of_submissions(existing_boards(boards, plugin), plugin, new_split=new_split, replace=replace)
    report = reporting.check_submissions(folders, known, at_once)
    if as_json:
        print_json(report)
        if report.faults:
            raise typer.Exit(1)
        return
    report.refuse(folders)
    for note in report.notes:
        print_note(note)
    print_line(f"{report.counted}: all follow from ranks of the published targets")


@verb
def accept(
    folders: Submissions,
    boards: Boards = None,
    new_split: NewSplit = False,
    replace: Replace = False,
    plugin: Plugins = None,
    jobs: Processes = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Check records as `leaderboard check` does, then take them into leaderboards/records and write the pages anew: all of them or none.

    Example: recbench leaderboard accept submissions/them
    """
    from recbench import reporting

    at_once = processes(jobs)
    known = known_of_submissions(existing_boards(boards, plugin), plugin, new_split=new_split, replace=replace)
    report, result = reporting.accept_submissions(folders, known, at_once)
    if as_json:
        print_json({"report": report, "written": result.written})
        return
    for note in report.notes:
        print_note(note)
    for path in result.written:
        print_line(f"written: {path}")
    print_line(f"{report.counted} taken in. Remove {', '.join(map(str, folders))} and commit the leaderboards.")
