"""Folders of ready data: interactions in parquet or csv, and items in either beside them where there are texts."""

import re
from collections.abc import Mapping
from pathlib import Path

from recbench.core.errors import BadConfig, BadData, DataUnavailable
from recbench.data.card import DatasetCard

_LAYOUTS = (".parquet", "", ".csv", ".csv.gz")
"""Endings of the name, the first that is there wins; without any it is a folder of parquet parts."""
_DIGITS = re.compile(r"(\d+)")


def ready_files(folder: Path) -> dict[str, Path]:
    """Files (or folders of parquet parts) by role of a folder in the ready layout, empty where it is not one.

    Events and items may be of different formats.
    """
    found = {role: _laid_out(folder, role) for role in ("interactions", "items")}
    return {role: path for role, path in found.items() if path is not None} if found["interactions"] else {}


def _laid_out(folder: Path, role: str) -> Path | None:
    for suffix in _LAYOUTS:
        path = folder / f"{role}{suffix}"
        if path.is_dir() and not suffix.startswith(".csv"):
            if any(path.rglob("*.parquet")):
                return path
        elif suffix and path.is_file():
            return path
    return None


def ready_reader(files: Mapping[str, Path]) -> str:
    """The reader of a folder's `ready_files`."""
    return "csv" if ".csv" in files["interactions"].suffixes else "parquet"


def parquet_parts(folder: Path) -> list[Path]:
    """Parquet files of a folder, in the order of their names (numbers in names by value: part-2 before part-10).

    What begins with a dot or an underscore, such as `_SUCCESS`, is left aside, as the programs that write such folders do.

    Raises:
        BadData: the folder holds something else beside them.
    """
    entries = [path for path in folder.iterdir() if not path.name.startswith((".", "_"))]
    others = sorted(path.name for path in entries if path.suffix != ".parquet" or not path.is_file())
    if others:
        raise BadData(f"{folder} holds {others[0]!r}, which is no parquet file. Keep only the parts there; partitions are not read.")
    if not entries:
        raise BadData(f"{folder} holds no parquet file. Put the parts there.")
    return sorted(entries, key=lambda path: [int(piece) if piece.isdecimal() else piece for piece in _DIGITS.split(path.name)])


def own_card(folder: Path) -> DatasetCard:
    """The card of a folder that has none: no counts to meet, no filters, kind of time to be seen from the data."""
    if not folder.is_dir():
        if folder.is_file():
            raise DataUnavailable(f"{folder} is a file. Name the folder that it is in: {folder.parent}")
        raise DataUnavailable(f"{folder}: there is no such folder. Check the path; a name of a data set has no slash.")
    files = ready_files(folder)
    if not files:
        raise DataUnavailable(
            f"{folder} holds neither interactions.parquet nor interactions.csv. Put one there, with columns user_id, item_id and timestamp."
        )
    name = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._-" else "-" for letter in folder.resolve().name)
    if not name.strip("._-"):
        raise BadConfig(f"{folder}: a data set is called after its folder, and this one has no usable name. Rename the folder.")
    return DatasetCard(
        name=name.lstrip("._-"),
        title=folder.resolve().name,
        terms="own data",
        reader=ready_reader(files),
        time="detect",
        notes=("read from a folder without a card",),
    )
