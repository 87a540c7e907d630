"""`recbench list models|datasets|runs`."""

from pathlib import Path

from recbench.cli.options import DataDir, Debug, Json, Plugins, places
from recbench.cli.terminal import print_json, stdout, verb


@verb
def models(plugin: Plugins = None, as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the models: name, family, presets, distribution. One that cannot be imported is listed with the reason.

    Example: recbench list models
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench import registry

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
    table = Table("model", "family", "presets", "from", "what it is", box=None, header_style="bold")
    for row in rows:
        if row.plugin is None:
            table.add_row(escape(row.name), "[red]broken[/]", "", escape(row.distribution), escape(row.broken or ""))
        else:
            card = row.plugin.card
            table.add_row(escape(row.name), card.family, escape(", ".join(card.presets)), escape(row.distribution), escape(card.summary))
    stdout().print(table)


@verb
def datasets(data_dir: DataDir = None, as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the data sets that have a card, their sizes, and which of them are here as ready folders; others are downloaded on use.

    Example: recbench list datasets
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.data import dataset_card, dataset_names
    from recbench.data.folders import ready_files

    where = places(data_dir)
    roots = [root for root in (where.data, where.home / "datasets") if root is not None]
    cards = {name: dataset_card(name) for name in dataset_names()}
    here = {name: any(ready_files(root / name) for root in roots) for name in cards}
    if as_json:
        print_json([{"name": name, "is_here": here[name], "card": card.model_dump(mode="json")} for name, card in cards.items()])
        return
    table = Table("data set", "here", box=None, header_style="bold")
    for title in ("users", "items", "interactions"):
        table.add_column(title, justify="right")
    table.add_column("what it is")
    for name, card in cards.items():
        sizes = ["–" if size is None else f"{size:,}" for size in (card.counts.users, card.counts.items, card.counts.interactions)]
        table.add_row(escape(name), "yes" if here[name] else "", *sizes, escape(card.summary or card.title))
    stdout().print(table)


@verb
def runs(as_json: Json = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the runs below ./runs, finished and failed, oldest first; behind them those whose record cannot be read, with the reason.

    Example: recbench list runs
    """
    from rich.markup import escape
    from rich.table import Table

    from recbench.core.errors import BadData
    from recbench.core.records import RECORD_FILE, RunRecord, read_record
    from recbench.running.run.folders import read_failure, run_folders
    from recbench.tasks import find_task

    records: dict[Path, RunRecord] = {}
    failures, damaged = {}, {}
    for folder in run_folders(places().runs):
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
    table = Table("run", "model", "data set", "seed", "figure", "train", "started (UTC)", box=None, header_style="bold")
    for folder in ordered:
        if folder not in records:
            state, reason = ("failed", failures[folder]) if folder in failures else ("damaged", damaged[folder])
            table.add_row(escape(folder.name), f"[red]{state}[/]", "", "", "", "", escape(reason))
            continue
        record = records[folder]
        spent = "–" if record.cost is None else f"{record.cost.train_s:.1f} s"
        table.add_row(
            escape(folder.name),
            escape(record.model.row_name),
            escape(record.dataset.name),
            str(record.seed),
            find_task(record.task).headline(record.metrics),
            spent,
            record.started[:16].replace("T", " "),
        )
    stdout().print(table)
