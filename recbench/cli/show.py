"""`recbench show`."""

from typing import Annotated

import typer

from recbench.cli.options import Debug, Json, Plugins, Run, model_cards, run_folder
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def show(
    run: Run,
    codes: Annotated[
        bool,
        typer.Option(
            "--codes",
            help="Show figures about the model's item codes instead: use, collisions, how well they follow categories, if known.",
        ),
    ] = False,
    plot: Annotated[
        bool,
        typer.Option(
            "--plot",
            help="Draw training curve and groups of users into plot.png of the run's folder; with --codes, the codes into codes.png.",
        ),
    ] = False,
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show a record for reading: figures beside published ones, settings, stages, cost, groups of users.

    Example: recbench show last --plot
    """
    from recbench.core.records import read_record
    from recbench.reporting import code_report, codes_table, plot_codes, plot_run, record_table

    folder = run_folder(run)
    record = read_record(folder / "record.json")
    report = code_report(record) if codes else None
    picture = (plot_codes(folder) if codes else plot_run(folder)) if plot else None
    if as_json:
        result = {"record": record.model_dump(mode="json")} if report is None else {"codes": report}
        print_json({"folder": folder, "plot": picture, **result})
        return
    stdout().print(record_table(record, model_cards(plugin).get(record.model.name)) if report is None else codes_table(report))
    print_line(f"record: {folder}")
    if picture is not None:
        print_line(f"plot: {picture}")
