"""`recbench reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import DataDir, Debug, Json, Plugins, places
from recbench.cli.terminal import print_json, stderr, stdout, verb


@verb
def reproduce(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record.json, or the folder that holds one.")],
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the run of RECORD again with the same settings and seed, and compare the two.

    Example: recbench reproduce leaderboards/records/ml-100k-popularity-default-s0-1a2b3c4d-1/record.json
    """
    raise NotImplementedError(record, plugin, data_dir, as_json, places, print_json, stderr, stdout)
