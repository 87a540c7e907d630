"""Users' events and the table of items: what every split and every model is made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import Histories, LongArray, Ragged

StringArray = NDArray[np.object_]

UNKNOWN_TIME = int(np.iinfo(np.int64).min)
"""In place of the seconds of an event whose time is not known."""


class TimeKind(StrEnum):
    """Meaning of a data set's time stamps."""

    SECONDS = "seconds"
    """Seconds since 1970."""
    POSITION = "position"
    """The place in the user's own sequence; says nothing across users."""
    NONE = "none"
    """There are none; the order of the source counts."""


@dataclass(frozen=True, eq=False)
class Interactions(Ragged):
    """Events of all users, list u being user u's items in time order (equal times: in the source's order).

    Attributes:
        timestamp: (nnz,) int64, in the unit that `time` names; zeros where there is none.
        n_items: size of the catalogue; items without any event count too.
        time: what the time stamps mean.
        unix_time: (nnz,) int64 seconds since 1970 that a source tells beside time stamps of another kind, `UNKNOWN_TIME` where it does
            not know one; None where it tells none. They order nothing.
    """

    timestamp: LongArray
    n_items: int
    time: TimeKind
    unix_time: LongArray | None = None

    @property
    def n_users(self) -> int:
        """Number of users, those without events included."""
        return len(self)

    @property
    def seconds(self) -> LongArray | None:
        """When each event happened, (nnz,) int64 seconds since 1970, `UNKNOWN_TIME` where that is not known; None where it never is."""
        return self.timestamp if self.time is TimeKind.SECONDS else self.unix_time

    def histories(self) -> Histories:
        """The items alone."""
        return Histories(self.item, self.offsets)

    def item_counts(self) -> LongArray:
        """How often each item occurs, (n_items,) int64."""
        return np.bincount(self.item, minlength=self.n_items).astype(np.int64)

    def in_random_orders(self, n_orders: int, generator: Callable[[int], np.random.Generator]) -> "Interactions":
        """Every list `n_orders` times, each time in an order of its own: all lists once, then all once more.

        Args:
            n_orders: how many times.
            generator: of the nth time.
        """
        row = self.row_of_entry()
        orders = [np.lexsort((generator(number).random(len(row)), row)) for number in range(n_orders)]
        offsets = np.append(0, np.cumsum(np.tile(self.lengths, n_orders))).astype(np.int64)
        return self.at(np.concatenate(orders), offsets)

    def take(self, rows: NDArray[np.integer] | Sequence[int]) -> "Interactions":
        """The events of some users only, renumbered in the order given."""
        from recbench.core.ragged import flat_index

        return self.at(*flat_index(self.offsets, np.asarray(rows, dtype=np.int64)))

    def at(self, index: LongArray, offsets: LongArray) -> "Interactions":
        """The events at some places of the flat arrays, as lists with these offsets."""
        unix_time = None if self.unix_time is None else self.unix_time[index]
        return Interactions(self.item[index], offsets, self.timestamp[index], self.n_items, self.time, unix_time)


@dataclass(frozen=True, eq=False)
class ItemTable:
    """One row per item of the catalogue.

    Attributes:
        item_ids: (n_items,) the source's ids, as strings, sorted.
        columns: text columns by name, each (n_items,) of str or None.
        model_columns: further columns of the same form, for models whose cards name them; no part of the item text.
    """

    item_ids: StringArray
    columns: Mapping[str, StringArray]
    model_columns: Mapping[str, StringArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def has_text(self) -> bool:
        """Whether any text column holds a value."""
        return any(value is not None for column in self.columns.values() for value in column)

    def text(self, fields: Sequence[str], *, labels: bool = False, separator: str = "; ") -> list[str]:
        """One text per item, from the fields that are there.

        Args:
            fields: columns in the order to use; a column the table lacks counts as null everywhere.
            labels: write `Title: ...` instead of the bare value.
            separator: between two fields.
        """
        chosen = [(name, self.columns[name]) for name in fields if name in self.columns]
        texts = []
        for row in range(len(self)):
            parts = [f"{name.capitalize()}: {column[row]}" if labels else column[row] for name, column in chosen if column[row]]
            texts.append(separator.join(parts))
        return texts

    def titles(self) -> list[str | None]:
        """Title of each item; None where nothing is known."""
        column: Any = self.columns.get("title")
        return [None] * len(self) if column is None else list(column)
