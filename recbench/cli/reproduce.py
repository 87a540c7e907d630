"""`recbench reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.differences import differences_table
from recbench.cli.options import DataDir, Dataset, Debug, Json, Plugins, model_cards, run_folder, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def reproduce(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A record.json, a run folder, or a run id or the start of one.")],
    dataset: Dataset = None,
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Run RECORD again with the same settings and seed, training included, and compare every figure and rank.

    Example: recbench reproduce leaderboards/records/ml-100k-popularity-default-s0-1a2b3c4d-1/record.json
    """
    from recbench.reporting import diff, diff_table
    from recbench.running.after.reproduce import reproduce as run_again

    folder = Path(record).parent if record.endswith(".json") and Path(record).is_file() else run_folder(record)
    found = run_again(folder, workplace(data_dir), dataset=dataset, plugins=plugin or ())
    if found is None:  # under torchrun only rank 0 has a result
        return
    if as_json:
        print_json(
            {
                "record": found.record.run_id,
                "again": found.outcome.record.run_id,
                "folder": found.outcome.folder,
                "code_changes": found.code_changes,
                "is_exact": found.is_exact,
                "n_ranks": found.n_ranks,
                "n_ranks_changed": found.n_ranks_changed,
                "metrics": found.differences,
            }
        )
        return
    stdout().print(differences_table(found.differences, "again"))
    if not found.is_exact:
        stdout().print(diff_table(diff(folder, found.outcome.folder, model_cards(plugin))))
    if found.code_changes:
        print_line(f"The code differs from that of the record: {'; '.join(found.code_changes)}.")
    verdict = "every target stands where it stood" if found.is_exact else f"{found.n_ranks_changed:,} stand elsewhere"
    print_line(f"{found.n_ranks:,} ranks compared: {verdict}")
    print_line(f"record: {found.outcome.folder}")
