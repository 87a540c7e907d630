"""`recbench data fetch|stats|shortcuts|check|optimum`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import DataDir, Debug, Json, Protocol, Ties, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from recbench.core.ranking import View
    from recbench.running.after.optimum import Optimum

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
    from recbench.running.run.splits import divided

    task, dataset, split = divided(name, protocol, ties, workplace(data_dir))
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
    from recbench.running.run.splits import divided

    task, _, split = divided(name, protocol, ties, workplace(data_dir))
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

    from recbench.running.run.splits import checked

    findings = checked(name, workplace(data_dir))
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


@verb
def optimum(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Data set whose process is known, such as synthetic:items=1000,text=0.3, or path of its card."),
    ],
    runs: Annotated[bool, typer.Option("--runs", help="Hold the finished runs on these data against it, the nearest first.")] = False,
    protocol: Protocol = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show what the best possible lists reach on generated data, by the true probability of every next item.

    Exact is the expected value for the test histories, sampled that of the targets which were drawn, with its standard error.

    Example: recbench data optimum synthetic:text=0.3 --runs
    """
    from recbench.running.after.optimum import find_optimum

    found = find_optimum(name, workplace(data_dir), protocol=protocol, with_runs=runs)
    if as_json:
        print_json(found)
        return
    stdout().print(_best_table(found), crop=False)
    for view in dict.fromkeys(distance.view for distance in found.runs):
        stdout().print(_distance_table(found, view), crop=False)
    if runs and not found.runs:
        print_line(f"No finished run on {found.dataset} is in the folder of runs.")


def _best_table(found: "Optimum") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from recbench.evaluation import METRICS

    title = f"{METRICS.title(found.metric)} of the best lists on {found.dataset}, {found.protocol}, {found.n_users:,} users"
    table = Table(title=escape(title), title_justify="left", box=None, header_style="bold")
    for header in ("oracle knows", "view"):
        table.add_column(header)
    for header in ("exact", "sampled"):
        table.add_column(header, justify="right")
    for best in found.best:
        table.add_row(best.oracle, best.view, f"{best.exact:.4f}", f"{best.sampled:.4f} ± {best.standard_error:.4f}")
    return table


def _distance_table(found: "Optimum", view: "View") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from recbench.evaluation import METRICS

    table = Table(title=f"\nRuns, {view}, same targets", title_justify="left", box=None, header_style="bold")
    table.add_column("model", overflow="fold")
    for header in ("seed", METRICS.title(found.metric), "of the optimum", "below it [95 %]"):
        table.add_column(header, justify="right")
    table.add_column("run")
    for run in found.runs:
        if run.view == view:
            below = f"{run.below.value:+.4f} [{run.below.low:+.4f}, {run.below.high:+.4f}]"
            # Rows of one preset with other settings have one name; hash and number at the end of the run id tell them apart.
            run_end = "-".join(run.run_id.split("-")[-2:])
            share = "–" if run.share is None else f"{100 * run.share:.1f} %"
            table.add_row(escape(run.row_name), str(run.seed), f"{run.value:.4f}", share, below, run_end)
    return table


def _two_columns(rows: "Sequence[tuple[str, str]]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in rows:
        table.add_row(escape(label), escape(value))
    return table
