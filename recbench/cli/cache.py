"""`recbench cache add|ls|size|clean`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from recbench.cli.options import Debug, Json, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to add; `smollm2` is known.")],
    force: Annotated[bool, typer.Option("--force", help="Convert again what is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Convert the pretrained model of an installed package into the cache, once; runs find it there and never convert.

    Example: recbench cache add smollm2
    """
    from recbench.running.upkeep.pretrained import add_pretrained

    added = add_pretrained(name, workplace(), again=force)
    if as_json:
        print_json({"name": added.name, "folder": added.folder, "is_new": added.is_new})
        return
    print_line(f"{added.name} {'is now' if added.is_new else 'is'} in {added.folder}")


@verb
def ls(as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List what the cache holds, largest first: finished stages, partial ones (to be resumed) and damaged ones (set aside).

    Example: recbench cache ls
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.core.byte_sizes import size_text
    from recbench.core.console import keep_whole
    from recbench.running.stages.store import cache_entries

    where = workplace()
    entries = cache_entries(where.home)
    if as_json:
        print_json([{"name": entry.name, "kind": entry.kind, "size_bytes": entry.size_bytes, "folder": entry.folder} for entry in entries])
        return
    table = Table(box=None, header_style="bold")
    for title in ("entry", "kind", "size", "changed (UTC)"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        changed = datetime.fromtimestamp(entry.modified, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(escape(entry.name), escape(entry.kind), size_text(entry.size_bytes), changed)
    stdout().print(keep_whole(table, "entry"), crop=False)


@verb
def size(as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """Show how much disk the cache takes, kind by kind.

    Example: recbench cache size
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.core.byte_sizes import size_text
    from recbench.running.stages.store import cache_entries

    where = workplace()
    totals: dict[str, int] = {}
    for entry in cache_entries(where.home):
        totals[entry.kind] = totals.get(entry.kind, 0) + entry.size_bytes
    if as_json:
        print_json({"home": where.home, "size_bytes": sum(totals.values()), "kinds": totals})
        return
    table = Table(box=None, header_style="bold")
    table.add_column("kind", overflow="fold")
    table.add_column("size")
    for kind, n_bytes in sorted(totals.items(), key=lambda pair: -pair[1]):
        table.add_row(escape(kind), size_text(n_bytes))
    table.add_row("all", size_text(sum(totals.values())))
    stdout().print(table)
    print_line(f"in {where.home}")


@verb
def clean(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND]...", help="Kinds to remove, as `cache ls` shows them. Default: all but `download` and `pretrained`."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Remove entries from the cache. Runs and records are never touched; what is in use stays.

    Example: recbench cache clean partial damaged
    """
    from recbench.core.byte_sizes import size_text
    from recbench.running.stages.store import clean_cache

    removed = clean_cache(workplace().home, tuple(kinds or ()))
    freed = sum(entry.size_bytes for entry in removed)
    if as_json:
        print_json({"removed": [entry.name for entry in removed], "freed_bytes": freed})
        return
    print_line(f"{len(removed)} entries removed, {size_text(freed)} freed")
