"""`recbench import-ranks`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import DataDir, Debug, Json, Protocol, Ties, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def import_ranks(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="csv or parquet with the columns user_id, item_id, rank or score, and view if it has both."),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Name of the model on boards.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of a data set, or path of a card or of a folder of data.")],
    seen: Annotated[
        str | None,
        typer.Option(help="Whether the lists may hold seen items (keep) or had them filtered (unseen). Needed without a column view."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed that the lists were made with; boards merge the seeds of a model into one row.")
    ] = 0,
    ties: Ties = "source",
    protocol: Protocol = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Evaluate ranked lists of another toolkit under the same protocol, and write a record marked foreign below ./runs.

    The lists stand beside the same cheap references as a run. A test user without a list is a miss everywhere. Lists are cut to those of a
    run; of equal scores the smaller item row goes first.

    Example: recbench import-ranks lists.csv --model BPR --dataset ml-100k --seen unseen
    """
    from recbench.reporting import run_table
    from recbench.running.foreign.import_lists import import_ranks as measure
    from recbench.running.requests import ImportRequest
    from recbench.tasks import find_task

    request = ImportRequest(file=file, model=model, dataset=dataset, seen=seen, seed=seed, ties=ties, protocol=protocol)
    outcome = measure(request, workplace(data_dir), command=("recbench", *sys.argv[1:]))
    record = outcome.record
    if as_json:
        facts = {"run": record.run_id, "folder": outcome.folder, "is_new": outcome.is_new}
        print_json({**facts, "record": record.model_dump(mode="json"), "references": outcome.references})
        return
    stdout().print(run_table(record, None, outcome.references), crop=False)
    if record.foreign is not None:
        units = find_task(record.task).words.units
        for view, count in record.foreign.users_without_list.items():
            others = f"; the {count:,} others are misses" if count else ""
            print_line(f"{view}: {record.targets.n_users - count:,} of {record.targets.n_users:,} test {units} have a list{others}")
        print_line(f"lists of {record.protocol.list_length}; {record.foreign.lists_cut:,} were longer")
        print_line(f"{units} without a test query, left out: {record.foreign.users_not_asked:,}")
    print_line(f"record: {outcome.folder}")
