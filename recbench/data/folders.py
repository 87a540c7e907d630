"""Folders of ready data: interactions.parquet or .csv, and items beside it where there are texts."""

from pathlib import Path

from recbench.core.errors import BadConfig, DataUnavailable
from recbench.data.card import DatasetCard

_SUFFIXES = ("parquet", "csv")


def ready_files(folder: Path) -> dict[str, Path]:
    """Files by role of a folder in the ready layout, empty where it is not one."""
    for suffix in _SUFFIXES:
        interactions, items = folder / f"interactions.{suffix}", folder / f"items.{suffix}"
        if interactions.is_file():
            return {"interactions": interactions} | ({"items": items} if items.is_file() else {})
    return {}


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
        reader=files["interactions"].suffix[1:],
        time="detect",
        notes=("read from a folder without a card",),
    )
