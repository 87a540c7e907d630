"""`recbench pull`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import DataDir, Dataset, Debug, Json, Plugins, workplace
from recbench.cli.terminal import print_json, print_line, print_note, verb


@verb
def pull(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="OWNER/NAME on the Hugging Face hub, or a folder of `recbench export`.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the repository. Default: the newest commit.")] = None,
    limit_gb: Annotated[float, typer.Option(min=0, help="Refuse a model of more gigabytes.")] = 20.0,
    dataset: Dataset = None,
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Take in a trained model that somebody shared, as a run below ./runs that `recommend`, `evaluate` and `latency` take.

    It is data: nothing of it is executed, and the model's code must be installed here. Its figures are its owner's claim, which
    `recbench evaluate` holds against the test users.

    Example: recbench pull them/tiger-on-demo
    """
    from recbench.core.errors import BadRequest
    from recbench.running.after.hub import Repository
    from recbench.running.after.pull import Folder
    from recbench.running.after.pull import pull as take_in

    is_folder = Path(source).is_dir()
    if is_folder and revision is not None:
        raise BadRequest(f"--revision {revision}: {source} is a folder here, which has none. Leave it out.")
    if not is_folder and source.count("/") != 1:
        raise BadRequest(f"{source!r} is no folder and no repository. Give a folder, or OWNER/NAME of the hub.")
    place = Folder(Path(source)) if is_folder else Repository(source, revision)
    found = take_in(place, workplace(data_dir), plugins=plugin or (), dataset=dataset, limit_gb=limit_gb, check=_refuse_forged)
    record = found.record
    if as_json:
        print_json({"run": record.run_id, "folder": found.folder, "is_new": found.is_new, "has_ranks": found.has_ranks})
        return
    claim = "computed again from the ranks that came along" if found.has_ranks else "a claim until `recbench evaluate` has measured it"
    print_line(f"{record.model.row_name} on {record.dataset.name}; its figures are {claim}")
    if not found.is_new:
        print_note("this model was here before")
    print_line(f"record: {found.folder}")


def _refuse_forged(folder: Path) -> None:
    """A `VerifyFailed` where a figure of the record does not follow from the ranks beside it."""
    from recbench.core.errors import VerifyFailed
    from recbench.reporting import StoredRun, faults_of_record

    faults = faults_of_record(StoredRun.open(folder), "It was forged or measured by another recbench; ask its owner.")
    if faults:
        more = f" {len(faults) - 1} more figures do not follow." if len(faults) > 1 else ""
        raise VerifyFailed(f"{faults[0].message}{more}")
