"""`recbench diff`."""

from typing import Annotated

import typer

from recbench.cli.options import Debug, Json, Plugins, Run, model_cards, run_folder
from recbench.cli.terminal import print_json, stdout, verb


@verb
def diff(
    first: Run,
    second: Annotated[str, typer.Argument(metavar="RUN", help="Run to compare it with.")],
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show what differs between two runs and why their figures may differ: settings, data, code, libraries, machine.

    Example: recbench diff beauty-sasrec-tuned-s0 beauty-sasrec-paper-s0
    """
    from recbench import reporting

    rows = reporting.diff(run_folder(first), run_folder(second), model_cards(plugin))
    if as_json:
        print_json(rows)
    else:
        stdout().print(reporting.diff_table(rows))
