"""`recbench recommend`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import DataDir, Dataset, Debug, Json, Plugins, Run, check_output, names, run_folder, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def recommend(
    run: Run,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", "--items", metavar="ID,ID,...", help="Item ids of one user's history, oldest first, or of a bundle to complete."
        ),
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="One item id of the history, taken as it is: for ids with commas or spaces. Repeatable."),
    ] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="How many items. Default: 10, in an export as in a run.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the lists of all test users into this csv file instead.")
    ] = None,
    seen: Annotated[
        str | None,
        typer.Option(help="For --export, seen items: kept in the lists (keep, the default), filtered out (unseen), or both."),
    ] = None,
    dataset: Dataset = None,
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Recommend items for a history, or complete a bundle, with the trained model of RUN; items that were given are filtered out.

    Example: recbench recommend last --history B0001,B0002 --k 5
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.api import load
    from recbench.core.console import keep_whole
    from recbench.core.errors import BadRequest
    from recbench.running.after.loaded import export_lists

    if history is not None and item is not None:
        raise BadRequest("--history (or --items) and --item both give the known items. Give all ids in one of them.")
    ids = item if history is None else names(history, "--history")
    if ids is not None and export is None:
        model = load(run_folder(run), plugins=plugin or ())
        items = model.recommend(ids, k or 10)
        if as_json:
            print_json([{"item_id": found.item_id, "title": found.title, "score": found.score} for found in items])
            return
        table = Table(box=None, header_style="bold")
        for title in ("", "item", "title", "score"):
            table.add_column(title, overflow="fold")
        for place, found in enumerate(items, start=1):
            table.add_row(str(place), escape(found.item_id), escape(found.title or "–"), f"{found.score:.4f}")
        stdout().print(keep_whole(table, "item"), crop=False)
        record = model.record
        print_line(f"{record.model.row_name} on {record.dataset.name}, run {record.run_id}; scores compare items of this list alone")
    elif export is not None and ids is None:
        check_output(export, "--export")
        n_users = export_lists(
            run_folder(run),
            export,
            workplace(data_dir),
            k=k,
            seen=seen,
            dataset=dataset,
            plugins=plugin or (),
        )
        if as_json:
            print_json({"file": export, "n_users": n_users})
        else:
            print_line(f"lists of {n_users} users: {export}")
    else:
        raise BadRequest("Give either --history ID,ID,... (or --items, or --item ID) for one list or --export FILE for all test users.")
