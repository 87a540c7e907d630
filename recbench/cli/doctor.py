"""`recbench doctor`."""

import typer

from recbench.cli.options import DataDir, Debug, Json, Plugins, workplace
from recbench.cli.terminal import print_json, stdout, verb

_SIGNS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}


@verb
def doctor(
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Check whether this machine is ready: Python, torch, device, memory, disk, data, cache, plugins. Nothing is written.

    The exit code is 1 if something would make a run fail.

    Example: recbench doctor
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.running.upkeep import doctor as checks

    found = checks.doctor(workplace(data_dir), tuple(plugin or ()))
    if as_json:
        print_json(found)
    else:
        table = Table(box=None, header_style="bold")
        for title in ("", "state", "found", "what to do"):
            table.add_column(title, overflow="fold")  # paths and commands are never cut
        for check in found:
            table.add_row(escape(check.name), _SIGNS[check.state], escape(check.found), escape(check.advice))
        stdout().print(table)
    if any(check.state == "problem" for check in found):
        raise typer.Exit(1)
