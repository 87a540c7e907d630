"""A data set, read, filtered, numbered and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recbench.core.interactions import Interactions, ItemTable, StringArray, TimeKind
from recbench.data.arrays import open_array, open_json, open_strings, save_array, save_json, save_strings
from recbench.data.card import DatasetCard, parse_card
from recbench.data.side import SideTables

Notes = Mapping[str, int | float | str]
WITHIN_A_SECOND = "events ordered within a second"
"""Note: how many events stand behind the one before only by the part of their time below a second."""
_SIDE = "side"
_MODEL_COLUMNS = "model_columns"
"""Name of the list of model columns in a folder; there is none where a table has no such column."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Events of all users and the table of all items.

    Attributes:
        card: the card as it applied: reader, filters and kind of time are those of the source that was read.
        interactions: row u holds user u's events in time order.
        items: row i describes item i.
        user_ids: (n_users,) the source's ids, sorted.
        notes: things counted while reading, such as dropped duplicates.
        side: tables beside the events, of data sets whose rows are sets; None for any other.
    """

    card: DatasetCard
    interactions: Interactions
    items: ItemTable
    user_ids: StringArray
    notes: Notes = field(default_factory=dict)
    side: SideTables | None = None

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.interactions)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.items)

    @property
    def n_interactions(self) -> int:
        """Number of events."""
        return len(self.interactions.item)

    def save(self, folder: Path) -> None:
        """Write all of it into an existing or new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        save_json(folder, "dataset", {"card": self.card.model_dump(mode="json"), "notes": dict(self.notes)})
        save_interactions(folder, "interactions", self.interactions)
        save_items(folder, self.items)
        save_strings(folder, "user_ids", self.user_ids)
        if self.side is not None:
            self.side.save(folder / _SIDE)

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Open the folder that `save` wrote, events memory-mapped; a damaged folder is a `BadData`."""
        about = open_json(folder, "dataset")
        card = parse_card(about["card"], str(folder))
        side = SideTables.open(folder / _SIDE) if (folder / _SIDE).is_dir() else None
        events, user_ids = open_interactions(folder, "interactions"), open_strings(folder, "user_ids")
        return cls(card, events, open_items(folder), user_ids, about["notes"], side)


def save_interactions(folder: Path, name: str, interactions: Interactions) -> None:
    """Write ragged events under a name."""
    save_array(folder, f"{name}.item", interactions.item)
    save_array(folder, f"{name}.offsets", interactions.offsets)
    save_array(folder, f"{name}.timestamp", interactions.timestamp)
    if interactions.unix_time is not None:
        save_array(folder, f"{name}.unix_time", interactions.unix_time)
    about = {"n_items": interactions.n_items, "time": interactions.time.value, "has_unix_time": interactions.unix_time is not None}
    save_json(folder, name, about)


def open_interactions(folder: Path, name: str) -> Interactions:
    """Ragged events, memory-mapped."""
    about = open_json(folder, name)
    return Interactions(
        open_array(folder, f"{name}.item"),
        open_array(folder, f"{name}.offsets"),
        open_array(folder, f"{name}.timestamp"),
        int(about["n_items"]),
        TimeKind(about["time"]),
        open_array(folder, f"{name}.unix_time") if about["has_unix_time"] else None,
    )


def save_items(folder: Path, items: ItemTable) -> None:
    """Write the item table."""
    save_strings(folder, "item_ids", items.item_ids)
    save_json(folder, "columns", list(items.columns))
    for name, column in items.columns.items():
        save_strings(folder, f"column.{name}", column)
    # Tables without them are written as they were before there were any: splits of older runs stay readable.
    if items.model_columns:
        save_json(folder, _MODEL_COLUMNS, list(items.model_columns))
    for name, column in items.model_columns.items():
        save_strings(folder, f"model_column.{name}", column)


def open_items(folder: Path) -> ItemTable:
    """The item table; its strings are read into memory."""
    columns = {name: open_strings(folder, f"column.{name}") for name in open_json(folder, "columns")}
    further = open_json(folder, _MODEL_COLUMNS) if (folder / f"{_MODEL_COLUMNS}.json").is_file() else []
    model_columns = {name: open_strings(folder, f"model_column.{name}") for name in further}
    return ItemTable(open_strings(folder, "item_ids"), columns, model_columns)


def repeated_pairs(interactions: Interactions) -> int:
    """How many events repeat an earlier (user, item) pair."""
    pair = interactions.row_of_entry() * interactions.n_items + interactions.item
    return len(pair) - len(np.unique(pair))
