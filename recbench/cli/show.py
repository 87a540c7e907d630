"""`recbench show`."""

from typing import Annotated, Any

import typer

from recbench.cli.options import Debug, Json, Plugins, Run, model_card, run_folder
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def show(
    run: Run,
    codes: Annotated[
        bool,
        typer.Option(
            "--codes",
            help="Show statistics of the item codes instead: use, collisions, agreement with categories if known.",
        ),
    ] = False,
    domination: Annotated[
        bool,
        typer.Option(
            "--domination",
            help="Show instead whether behaviour or text decides which items are alike, in every space of vectors that the model names.",
        ),
    ] = False,
    plot: Annotated[
        bool,
        typer.Option(
            "--plot",
            help="Draw training curve and groups of users into plot.png of the run's folder; with --codes, the codes into codes.png; "
            "with --domination, the spaces into domination.png.",
        ),
    ] = False,
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show a record for reading: figures beside published ones, settings, stages, cost, groups of users.

    Example: recbench show last --plot
    """
    from recbench import reporting
    from recbench.core.errors import BadRequest
    from recbench.core.records import RECORD_FILE, read_record
    from recbench.running.run.references_file import read_references

    if codes and domination:
        raise BadRequest("--codes and --domination show two different things. Give one of them.")
    folder = run_folder(run)
    record = read_record(folder / RECORD_FILE)
    content: dict[str, Any]
    if codes:
        report = reporting.code_report(record)
        content, table = {"codes": report}, reporting.codes_table(report)
    elif domination:
        spaces = reporting.domination_report(record)
        content, table = {"domination": spaces}, reporting.domination_table(spaces)
    else:
        content = {"record": record.model_dump(mode="json")}
        table = reporting.record_table(record, model_card(record.model.name, plugin), read_references(folder, record))
    picture = None
    if plot:
        draw = reporting.plot_codes if codes else reporting.plot_domination if domination else reporting.plot_run
        picture = draw(folder)
    if as_json:
        print_json({"folder": folder, "plot": picture, **content})
        return
    stdout().print(table, crop=False)
    print_line(f"record: {folder}")
    if picture is not None:
        print_line(f"plot: {picture}")
