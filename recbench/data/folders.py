"""Folders of ready data: tables in parquet or csv under names that say what they hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recbench.core.errors import BadConfig, BadData, DataUnavailable
from recbench.data.card import DatasetCard, is_plain_name
from recbench.data.feature_files import IDS_ROLE, ROLE

_ENDINGS = (".parquet", "", ".csv", ".csv.gz")
"""Endings of the name, the first that is there wins; without any it is a folder of parquet parts."""
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class _Layout:
    """Names of the tables in a folder of data for one task.

    Attributes:
        main: role of the table that makes a folder one of this layout.
        names: name without ending by role, `main` among them.
        task: what such data are asked.
        readers: name of the reader by the main table's format, `parquet` or `csv`.
    """

    main: str
    names: Mapping[str, str]
    task: str
    readers: Mapping[str, str]


_EVENTS = _Layout("interactions", {"interactions": "interactions", "items": "items"}, "next-item", {"parquet": "parquet", "csv": "csv"})
_SETS = _Layout(
    "bundles",
    {"bundles": "bundles", "items": "items", "groups": "bundle_info", "bundle_users": "user_bundles", "feedback": "feedback"},
    "bundle",
    {"parquet": "bundles", "csv": "bundles"},
)
_LAYOUTS = (_SETS, _EVENTS)
"""Sets come first: users' events may stand beside them, as feedback or unused."""
_FEATURES = "features"
"""Folder of vectors of items beside the tables of sets."""


def ready_files(folder: Path, card: DatasetCard | None = None) -> dict[str, Path]:
    """Files (or folders of parquet parts) by role of a folder in a ready layout, empty where it is none.

    Tables may be of different formats.

    Args:
        folder: any.
        card: says the task, and names that differ from the usual ones; None: the folder itself decides.
    """
    layout = _layout_of(folder, card)
    if layout is None:
        return {}
    names = {**layout.names, **({} if card is None else card.ready)}
    found = {role: _laid_out(folder, name) for role, name in names.items()}
    return {role: path for role, path in found.items() if path is not None} | (_features(folder) if layout is _SETS else {})


def _layout_of(folder: Path, card: DatasetCard | None) -> _Layout | None:
    layouts = [layout for layout in _LAYOUTS if card is None or layout.task == card.task] or [_EVENTS]
    return next((layout for layout in layouts if _laid_out(folder, layout.names[layout.main]) is not None), None)


def _laid_out(folder: Path, name: str) -> Path | None:
    for ending in _ENDINGS:
        path = folder / f"{name}{ending}"
        if path.is_dir() and not ending.startswith(".csv"):
            if any(path.rglob("*.parquet")):
                return path
        elif ending and path.is_file():
            return path
    return None


def _features(folder: Path) -> dict[str, Path]:
    """Files of vectors by role, with those of their ids."""
    found = {}
    for path in sorted((folder / _FEATURES).glob("*")):
        name = path.name.removesuffix(path.suffix)
        if path.suffix not in {".parquet", ".npy"} or not is_plain_name(name):
            continue
        if ROLE + name in found:
            raise BadData(f"{path.parent} holds two files of vectors called {name!r}. Remove one of them.")
        found[ROLE + name] = path
        ids = path.with_name(f"{name}.ids.txt")
        if ids.is_file():
            found[IDS_ROLE + name] = ids
    return found


def ready_reader(files: Mapping[str, Path]) -> str:
    """The reader of a folder's `ready_files`."""
    layout = next(layout for layout in _LAYOUTS if layout.main in files)
    return layout.readers["csv" if ".csv" in files[layout.main].suffixes else "parquet"]


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
            f"{folder} holds neither interactions.parquet nor interactions.csv. Put one there, with columns user_id, item_id and "
            "timestamp; or bundles.parquet or .csv, with columns bundle_id and item_id."
        )
    name = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._-" else "-" for letter in folder.resolve().name)
    if not name.strip("._-"):
        raise BadConfig(f"{folder}: a data set is called after its folder, and this one has no usable name. Rename the folder.")
    layout = next(layout for layout in _LAYOUTS if layout.main in files)
    return DatasetCard(
        name=name.lstrip("._-"),
        title=folder.resolve().name,
        terms="own data",
        task=layout.task,
        reader=ready_reader(files),
        time="none" if layout is _SETS else "detect",
        catalogue="events" if layout is _SETS else "table",
        protocol="random" if layout is _SETS and "groups" not in files else "",
        notes=("read from a folder without a card",),
    )
