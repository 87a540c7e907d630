"""`recbench codes import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import DataDir, Debug, Json, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb

if TYPE_CHECKING:
    from recbench.running.foreign.released_codes import ReleasedCodes


@verb
def import_codes(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Released index: JSON of LETTER or CollisionGenRec, lines of GRAM, or a run's codes.parquet."),
    ],
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Data set whose test targets are looked up, a name or a path.")
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(help="Which item of the data set each number of the index is: a line per item, its id, a tab, its number."),
    ] = None,
    interactions: Annotated[
        Path | None, typer.Option(help="Released interactions instead of a data set: JSON, user to items; the last one is the test target.")
    ] = None,
    extra: Annotated[int, typer.Option(min=0, help="So many levels at the end of the codes only tell items apart: they do not count.")] = 0,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Show how often the item codes of a released index collide, without any training.

    Example: recbench codes import Beauty.index.json --interactions Beauty.inter.json
    """
    from rich.table import Table

    from recbench.core.errors import BadRequest
    from recbench.running.foreign.released_codes import collisions, read_last_items, read_released_codes

    if dataset is not None and interactions is not None:
        raise BadRequest("--dataset and --interactions both say what the test targets are. Give one of them.")
    if items is not None and dataset is None:
        raise BadRequest("--items says which items of a data set the numbers are. Say which data set: --dataset NAME")
    codes = read_released_codes(file, extra)
    if interactions is not None:
        found = collisions(codes, read_last_items(interactions))
    elif dataset is not None:
        found = collisions(codes, _targets(codes, dataset, items, data_dir))
    else:
        found = collisions(codes)
    if as_json:
        print_json(found)
        return
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("items", f"{found.items:,}")
    table.add_row("tokens of the longest code", f"{found.levels:,}")
    table.add_row("different codes", f"{found.distinct:,}")
    table.add_row("items that share theirs with another", f"{found.items_in_groups:,} ({found.share_in_groups:.1%})")
    table.add_row("items of the most common code", f"{found.largest_group:,}")
    if found.targets_in_groups is not None and found.mean_1_over_g is not None:
        table.add_row("test targets", f"{found.targets:,}")
        table.add_row("test targets that share their code", f"{found.targets_in_groups:.2%}")
        table.add_row("mean over them all of 1 / items of the code", f"{found.mean_1_over_g:.4f}")
    stdout().print(table)
    if found.targets is None:
        print_line("for figures about test targets: --dataset NAME or --interactions FILE")


def _targets(codes: "ReleasedCodes", dataset: str, items: Path | None, data_dir: Path | None) -> tuple[str, ...]:
    """Test targets of a data set, split by its default protocol, by their names in the index."""
    from recbench.running.foreign.released_codes import read_item_numbers, targets_of_split
    from recbench.running.run.splits import load_split
    from recbench.running.stages.store import StageStore
    from recbench.tasks import task_of

    numbers = None if items is None else read_item_numbers(items)
    where = workplace(data_dir)
    split = load_split(dataset, task_of(dataset).protocol(), where, StageStore(where.stages)).split
    return targets_of_split(codes, split.items.item_ids, split.test.targets.item, numbers)
