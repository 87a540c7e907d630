"""`recbench recommend`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import DataDir, Debug, Json, Plugins, names, places
from recbench.cli.terminal import print_json, stderr, stdout, verb


@verb
def recommend(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, run id or the start of one, or `last`.")],
    history: Annotated[str | None, typer.Option(metavar="ID,ID,...", help="Item ids of one user's history, oldest first.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many items.")] = 10,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the lists of all test users into this csv file instead.")
    ] = None,
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show what the trained model of RUN would recommend after a history; items of the history are left out.

    Example: recbench recommend last --history B0001,B0002 --k 5
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.core.errors import BadRequest
    from recbench.core.progress import ConsoleProgress
    from recbench.running.api import find_run, load

    if (history is None) == (export is None):
        raise BadRequest("Give either --history ID,ID,... for one user or --export FILE for all test users.")
    where = places(data_dir)
    folder = find_run(run, where)
    loaded = load(folder, places=where, plugins=tuple(plugin or ()))
    if export is not None:
        n_users = loaded.export(export, k=k, progress=ConsoleProgress(stderr()))
        if as_json:
            print_json({"file": export, "n_users": n_users})
        else:
            stdout().print(f"{n_users} lists of {k} written to {export}", highlight=False, soft_wrap=True)
        return
    items = loaded.recommend(names(history or "", "--history"), k)
    if as_json:
        print_json([{"item_id": item.item_id, "title": item.title, "score": item.score} for item in items])
        return
    table = Table("", "item", "title", "score", box=None, header_style="bold")
    for place, item in enumerate(items, start=1):
        table.add_row(str(place), escape(item.item_id), escape(item.title or "–"), f"{item.score:.4f}")
    stdout().print(table)
