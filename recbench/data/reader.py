"""Contract of a reader: it turns files of one format into events and item texts, and decides nothing else."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recbench.core.config import PluginConfig
from recbench.core.interactions import StringArray
from recbench.core.progress import Progress
from recbench.core.ragged import Histories, IntArray, LongArray

Files = Mapping[str, Path]
"""Files of a source by role."""


@dataclass(frozen=True, eq=False)
class RawEvents:
    """Events as they stand in a source, in its order.

    Attributes:
        user, item: (n,) int32, numbers of the ids below, in any order.
        user_ids, item_ids: the source's ids, each once.
        timestamp: (n,) int64, rounded down to whole seconds where times are finer; None where the source has none.
        rating: (n,) float64, a float32 of the source as it would be written; or None.
        position: (n,) int64, breaks ties of the full time; or None.
        notes: things counted while reading.
        fraction: (n,) float64, what `timestamp` leaves of each time, in seconds from 0 to 1; None where times are whole seconds.
        unix_time: (n,) int64 seconds since 1970 that stand beside `timestamp`, for sources where that one only orders events;
            `UNKNOWN_TIME` where one is missing, None where all are.
    """

    user: IntArray
    item: IntArray
    user_ids: StringArray
    item_ids: StringArray
    timestamp: LongArray | None
    rating: NDArray[np.float64] | None = None
    position: LongArray | None = None
    notes: Mapping[str, int | str] = field(default_factory=dict)
    fraction: NDArray[np.float64] | None = None
    unix_time: LongArray | None = None

    def __len__(self) -> int:
        return len(self.user)

    def time_keys(self) -> list[NDArray[np.generic]]:
        """Arrays (n,) that order events in time, the most important last, as `numpy.lexsort` takes them."""
        keys: list[NDArray[np.generic] | None] = [self.position, self.fraction, self.timestamp]
        return [key for key in keys if key is not None]

    def keep(self, mask: NDArray[np.bool_]) -> "RawEvents":
        """The events where `mask` is true; ids stay as they are, used or not."""
        return RawEvents(
            self.user[mask],
            self.item[mask],
            self.user_ids,
            self.item_ids,
            None if self.timestamp is None else self.timestamp[mask],
            None if self.rating is None else self.rating[mask],
            None if self.position is None else self.position[mask],
            self.notes,
            None if self.fraction is None else self.fraction[mask],
            None if self.unix_time is None else self.unix_time[mask],
        )


@dataclass(frozen=True, eq=False)
class RawItems:
    """Item texts as they stand in a source.

    Attributes:
        item_ids: the source's ids; a repeat is a fault that the caller reports.
        columns: text by column name, None or an empty string where there is none.
        notes: things counted while reading.
    """

    item_ids: Sequence[str]
    columns: Mapping[str, Sequence[str | None]]
    notes: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RawFeatures:
    """Vectors as they stand in a file: row r of the matrix, (n, m) float32, is about `item_ids[r]`."""

    item_ids: Sequence[str]
    matrix: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RawCut:
    """A division that comes with the sets.

    Attributes:
        part: `train`, `valid` or `test` by set.
        shown: pairs of a validation or test set and an item of it that is shown; its other items are asked for.
    """

    part: Mapping[str, str]
    shown: Set[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class RawSide:
    """Tables beside the sets of a source, by the source's ids.

    Attributes:
        groups: group of each set; None where the source tells none.
        owned: pairs of a person and a set, in place of `user` and `item`; None likewise.
        feedback: pairs of a person and an item; None likewise.
        features: vectors of items by name.
        cut: how the source divides the sets; None where it does not.
        notes: things counted while reading.
    """

    groups: Mapping[str, str] | None = None
    owned: RawEvents | None = None
    feedback: RawEvents | None = None
    features: Mapping[str, RawFeatures] = field(default_factory=dict)
    cut: RawCut | None = None
    notes: Mapping[str, int | float | str] = field(default_factory=dict)


@runtime_checkable
class HasSide(Protocol):
    """A reader of sources that have more than events and items."""

    def side(self, files: Files, options: Any, progress: Progress) -> RawSide:
        """What stands beside the sets."""


@runtime_checkable
class TellsColumns(Protocol):
    """A reader of tables whose columns a person may have named."""

    def told(self, files: Files, options: Any, columns: Sequence[str]) -> list[str]:
        """What the columns of each file are taken for, a line per file; `columns` are the text columns that are read."""


class Process(Protocol):
    """A generative process of which the probability of every next item is known. Items and users are rows of the data set."""

    def given_history(self, histories: Histories) -> NDArray[np.float64]:
        """Probability of each item as the next one for whoever knows the process and a user's events so far, (B, n_items)."""

    def given_user(self, histories: Histories, user: IntArray) -> NDArray[np.float64]:
        """The same for whoever also knows what the process hides about each user, (B, n_items); `user` is (B,)."""


@runtime_checkable
class HasProcess(Protocol):
    """A reader that generates its events by a known process."""

    def process(self, options: Any) -> Process:
        """The process behind the events."""


class Reader(Protocol):
    """A reader as an entry point of the group `recbench.readers` names it."""

    options: type[PluginConfig]
    """Class of its settings, `[options]` in the card."""
    needs: tuple[str, ...]
    """Roles of files it cannot do without."""
    has_complete_items: bool
    """Whether an event of an item that the item table lacks is a fault; else such items only have no text."""

    def events(self, files: Files, options: Any, progress: Progress) -> RawEvents:
        """All events of the source; a fault in a file is a `BadData` that names file and value."""

    def items(self, files: Files, options: Any, columns: Sequence[str], wanted: Collection[str], progress: Progress) -> RawItems | None:
        """Texts of items, None where the source has no item file.

        Args:
            columns: the text columns to read; others are left alone.
            wanted: ids that survived filtering. Large tables return only these; small ones may return all.
        """


def each_once(pairs: RawEvents) -> RawEvents:
    """The members of sets without repeats, in their order, with a note of how many there were."""
    _, first = np.unique(pairs.user.astype(np.int64) * len(pairs.item_ids) + pairs.item, return_index=True)
    is_first = np.zeros(len(pairs), dtype=np.bool_)
    is_first[first] = True
    return replace(pairs.keep(is_first), notes={**pairs.notes, "items that a bundle repeats, left out": len(pairs) - len(first)})


class Vocabulary:
    """Numbers ids in the order in which they first appear; for readers that go line by line."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def number(self, source_id: str) -> int:
        """The number of an id, new or known."""
        return self._number.setdefault(source_id, len(self._number))

    def ids(self) -> StringArray:
        """All ids in the order of their numbers."""
        return string_array(self._number)


def numbered_ids(kind: str, count: int) -> StringArray:
    """Ids of made-up things, such as `item-0012`; sorted, they stand in the order of their numbers."""
    width = max(4, len(str(count - 1)))
    return string_array(f"{kind}-{number:0{width}d}" for number in range(count))


def string_array(values: Iterable[str | None]) -> StringArray:
    """An object array of strings, whatever NumPy would make of their lengths."""
    listed = list(values)
    out: StringArray = np.empty(len(listed), dtype=object)
    out[:] = listed
    return out
