"""`recbench data fetch|stats|shortcuts|check`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import DataDir, Debug, Json, Protocol, Ties, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.table import Table

    from recbench.data import Dataset, Split
    from recbench.tasks import Task

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set, path of a card, or folder of data.")]


@verb
def fetch(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Download again even if the files are there.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Find a data set, downloading it into the cache if need be, and say where its files are.

    Example: recbench data fetch ml-100k
    """
    from recbench.data import locate

    where = workplace(data_dir)
    located = locate(name, data_dir=where.data, home=where.home, progress=where.progress, force=force)
    if as_json:
        print_json({"name": located.card.name, "origin": located.origin, "files": dict(located.files), "terms": located.card.terms})
        return
    print_line(f"{located.card.name}: {located.origin}")
    for role, path in located.files.items():
        print_line(f"  {role}: {path}")
    print_line(f"  terms: {located.card.terms}")


@verb
def stats(
    name: Name,
    protocol: Protocol = None,
    ties: Ties = "source",
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show the statistics of a data set that matter before believing a number: size, repeats, ties, cold items, text.

    Example: recbench data stats sports
    """
    from recbench.data import stats as statistics_of

    task, dataset, split = _divided(name, protocol, ties, data_dir)
    found = statistics_of(dataset, split)
    if as_json:
        print_json(found.to_dict())
    else:
        stdout().print(_two_columns(found.rows(task.words.unit, task.words.units)))


@verb
def shortcuts(
    name: Name,
    protocol: Protocol = None,
    ties: Ties = "source",
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show what solves a test without learning: pairs and texts that lead to targets, entropy of the next item, repeats, ties, drift.

    Example: recbench data shortcuts sports
    """
    task, _, split = _divided(name, protocol, ties, data_dir)
    found = task.shortcut_card(split)
    if as_json:
        print_json(found.to_dict())
    else:
        stdout().print(_two_columns(found.rows()))


@verb
def check(
    name: Name,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Check a data set against its card: files, counts, split, item text. Nothing is downloaded.

    Example: recbench data check beauty
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench import data
    from recbench.tasks import task_of_card

    where = workplace(data_dir)
    findings = data.check(
        name,
        data_dir=where.data,
        home=where.home,
        progress=where.progress,
        protocol_of=lambda card: task_of_card(card).protocol(),
        units_of=lambda card: task_of_card(card).words.units,
    )
    if as_json:
        print_json(findings)
    else:
        table = Table(box=None, show_header=False)
        for _ in range(3):
            table.add_column(overflow="fold")  # paths and hashes are never cut
        for finding in findings:
            table.add_row(escape(finding.what), "[green]ok[/]" if finding.is_good else "[red]wrong[/]", escape(finding.detail))
        stdout().print(table)
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(2)


def _divided(name: str, protocol: str | None, ties: str, data_dir: "Path | None") -> "tuple[Task, Dataset, Split]":
    """The task of a data set, its data, and these divided as the options say."""
    from recbench import data
    from recbench.tasks import task_of_card

    where = workplace(data_dir)
    located = data.locate(name, data_dir=where.data, home=where.home, progress=where.progress)
    dataset = data.read_dataset(located, where.progress)
    task = task_of_card(dataset.card)
    return task, dataset, data.make_split(dataset, task.protocol(protocol, ties))


def _two_columns(rows: "Sequence[tuple[str, str]]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in rows:
        table.add_row(escape(label), escape(value))
    return table
