"""Folders of ready data: tables in parquet or csv under names that say what they hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recbench.core.errors import BadConfig, BadData, DataUnavailable, nearest
from recbench.core.file_names import is_plain_name
from recbench.data.card import DatasetCard

FEATURE_ROLE = "features:"
"""Start of the role of a file of item vectors; the rest is their name."""
FEATURE_IDS_ROLE = "feature_ids:"
"""Start of the role of the file that says whose vectors a matrix holds."""
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
_IDS_ENDING = ".ids.txt"


def ready_files(folder: Path, card: DatasetCard | None = None) -> dict[str, Path]:
    """Files (or folders of parquet parts) by role of a folder in a ready layout, empty where it is none.

    Tables may be of different formats.

    Args:
        folder: any.
        card: says the task, and names that differ from the usual ones; None: the folder itself decides.
    """
    layout = next((layout for layout in _layouts(card) if _main_of(layout, folder, card) is not None), None)
    if layout is None:
        return {}
    found = {role: _laid_out(folder, name) for role, name in _names(layout, card).items()}
    return {role: path for role, path in found.items() if path is not None} | (_features(folder) if layout is _SETS else {})


def is_ready(folder: Path, card: DatasetCard) -> bool:
    """Whether the main table of a card's data lies in a folder, whatever else is there or is damaged."""
    return any(_main_of(layout, folder, card) is not None for layout in _layouts(card))


def main_table(card: DatasetCard) -> str:
    """Name without ending of the table that makes a folder one of this card's data: `interactions` or `bundles`."""
    layout = _layouts(card)[0]
    return _names(layout, card)[layout.main]


def _layouts(card: DatasetCard | None) -> list[_Layout]:
    """Those that a folder may be of; tasks of other distributions are asked on events."""
    return [layout for layout in _LAYOUTS if card is None or layout.task == card.task] or [_EVENTS]


def _names(layout: _Layout, card: DatasetCard | None) -> dict[str, str]:
    """Names by role, those of the card where it has others."""
    others = {} if card is None else card.ready
    for role in others:
        if role not in layout.names:
            raise BadConfig(
                f"`ready` of a card names the role {role!r}, which such data do not have.{nearest(role, layout.names)} "
                f"Known: {', '.join(layout.names)}."
            )
    return {**layout.names, **others}


def _main_of(layout: _Layout, folder: Path, card: DatasetCard | None) -> Path | None:
    return _laid_out(folder, _names(layout, card)[layout.main])


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
        if path.name.startswith(".") or path.name.endswith(_IDS_ENDING):
            continue
        if path.suffix not in {".parquet", ".npy"} or not is_plain_name(name):
            raise BadData(f"{path} is no file of vectors that could be read. Convert it to .parquet or .npy, or move it elsewhere.")
        if FEATURE_ROLE + name in found:
            raise BadData(f"{path.parent} holds two files of vectors called {name!r}. Remove one of them.")
        found[FEATURE_ROLE + name] = path
        ids = path.with_name(f"{name}{_IDS_ENDING}")
        if ids.is_file():
            found[FEATURE_IDS_ROLE + name] = ids
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
