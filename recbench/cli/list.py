"""`recbench list models|datasets|runs`."""

from pathlib import Path
from typing import TYPE_CHECKING

from recbench.about import DISTRIBUTION
from recbench.cli.options import DataDir, Debug, Json, Plugins, workplace
from recbench.cli.terminal import print_json, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from recbench.core.records import RunRecord


@verb
def models(plugin: Plugins = None, as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the models: name, family, presets, distribution. One that cannot be imported is listed with the reason.

    Example: recbench list models
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench import registry
    from recbench.core.console import keep_whole

    rows = registry.models(tuple(plugin or ())).describe()
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "distribution": row.distribution,
                    "broken": row.broken,
                    "card": row.plugin.card.model_dump(mode="json") if row.plugin else None,
                }
                for row in rows
            ]
        )
        return
    table = Table(box=None, header_style="bold")
    # A column of presets, or of one and the same distribution, would leave no room for words on a narrow terminal.
    for title in ("model", "family", "what it is, its presets"):
        table.add_column(title, overflow="fold")
    for row in rows:
        origin = "" if row.distribution == DISTRIBUTION else f" From {row.distribution}."
        if row.plugin is None:
            table.add_row(escape(row.name), "[red]broken[/]", escape(f"{row.broken or ''}{origin}"))
        else:
            card = row.plugin.card
            table.add_row(escape(row.name), card.family, f"{escape(card.summary + origin)}\n[dim]{escape(', '.join(card.presets))}[/]")
    stdout().print(keep_whole(table, "model"), crop=False)


@verb
def datasets(data_dir: DataDir = None, as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the data sets that have a card, their sizes, and which of them are here as ready folders; others are downloaded on use.

    Example: recbench list datasets
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.core.console import keep_whole
    from recbench.data import dataset_card, dataset_names
    from recbench.data.folders import is_ready

    where = workplace(data_dir)
    roots = [root for root in (where.data, where.home / "datasets") if root is not None]
    cards = {name: dataset_card(name) for name in dataset_names()}
    here = {name: any(is_ready(root / name, card) for root in roots) for name, card in cards.items()}
    if as_json:
        print_json([{"name": name, "is_here": here[name], "card": card.model_dump(mode="json")} for name, card in cards.items()])
        return
    table = Table("data set", "here", box=None, header_style="bold")
    for title in ("users or bundles", "items", "interactions"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("what it is", overflow="fold")
    for name, card in cards.items():
        counts = card.counts
        rows, entries = counts.users or counts.bundles, counts.interactions or counts.pairs
        sizes = ["–" if size is None else f"{size:,}" for size in (rows, counts.items, entries)]
        table.add_row(escape(name), "yes" if here[name] else "", *sizes, escape(card.summary or card.title))
    stdout().print(keep_whole(table, "data set"), crop=False)


@verb
def runs(as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the runs below ./runs, finished and failed, oldest first; behind them those whose record cannot be read, with the reason.

    Example: recbench list runs
    """
    from rich.measure import Measurement

    from recbench.core.errors import BadData
    from recbench.core.records import RECORD_FILE, read_record
    from recbench.running.run.folders import read_failure, run_folders

    records: dict[Path, RunRecord] = {}
    failures, damaged = {}, {}
    for folder in run_folders(workplace().runs):
        if not (folder / RECORD_FILE).exists():
            failures[folder] = read_failure(folder)
            continue
        try:
            records[folder] = read_record(folder / RECORD_FILE)
        except BadData as error:
            damaged[folder] = str(error)
    ordered = [*sorted(records, key=lambda folder: records[folder].started), *failures, *damaged]
    if as_json:
        print_json(
            [
                {"run": folder.name, "folder": folder, "failure": failures.get(folder), "damage": damaged.get(folder)}
                | ({"record": records[folder].model_dump(mode="json")} if folder in records else {})
                for folder in ordered
            ]
        )
        return
    rows = [_row(folder, records.get(folder), failures.get(folder), damaged.get(folder)) for folder in ordered]
    table = _runs_table(rows)
    console = stdout()
    if Measurement.get(console, console.options.update_width(_WIDEST), table).maximum > console.width:
        # The id says these already, in as many characters again.
        table = _runs_table(rows, without=("model", "data set", "seed"))
    console.print(table, crop=False)


_STARTED = "started (UTC)"
_WIDEST = 10_000
"""No table of runs has so many columns of a terminal."""
_RUN_COLUMNS = ("run", "model", "data set", "seed", "figure", "train", _STARTED)


def _figure(record: "RunRecord") -> str:
    """The main figure, and the division of the data where that is not the task's usual one."""
    from recbench.tasks import find_task

    task = find_task(record.task)
    figure = task.headline(record.metrics)
    return figure if task.is_default(record.protocol) else f"{figure}, {task.protocol_of(record.protocol)}"


def _row(folder: Path, record: "RunRecord | None", failure: str | None, damage: str | None) -> tuple[str, ...]:
    """Cells of one run, as many as `_RUN_COLUMNS`."""
    from rich.markup import escape

    if record is None:
        state, reason = ("failed", failure) if damage is None else ("damaged", damage)
        return (escape(folder.name), "", "", "", f"[red]{state}[/]", "", escape(reason or ""))
    return (
        escape(folder.name),
        escape(record.model.row_name),
        escape(record.dataset.name),
        str(record.seed),
        _figure(record),
        "–" if record.cost is None else f"{record.cost.train_s:.1f} s",
        record.started[:16].replace("T", " "),
    )


def _runs_table(rows: "Sequence[tuple[str, ...]]", without: tuple[str, ...] = ()) -> "Table":
    """The runs, one a row, with all columns but these."""
    from rich.table import Table

    from recbench.core.console import keep_whole

    table = Table(box=None, header_style="bold")
    shown = [place for place, title in enumerate(_RUN_COLUMNS) if title not in without]
    for place in shown:
        table.add_column(_RUN_COLUMNS[place], overflow="fold", min_width=len("2026-01-01") if _RUN_COLUMNS[place] == _STARTED else None)
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    return keep_whole(table, "run")
