"""RecBole's atomic files: tab-separated, with a header of `name:type`."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData, nearest
from recbench.core.progress import Progress
from recbench.core.visible import listed
from recbench.data.columns import AS_WRITTEN, EVENT_COLUMNS, PRE_SPLIT, events_from_table, items_from_table
from recbench.data.reader import Files, RawEvents, RawItems
from recbench.data.tables import csv_header, read_csv

_SEQUENCE = "token_seq"
_SEPARATORS = (", ", "|", ";", " ")
"""What sets the parts of a sequence apart, looked for in this order. RecBole's own files have blanks; published ones join parts of
several words, such as `Active Life`, by commas."""


class RecboleOptions(PluginConfig):
    """Which of the columns hold what."""

    user: str = "user_id"
    """Column of the .inter file with users."""
    item: str = "item_id"
    """Column of both files with items."""
    time: str = "timestamp"
    """Column of the .inter file with times."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Standard text column, or model column -> column of the .item file, without its type. Columns of these names need no entry."""
    separator: str = ""
    """What sets the parts of `categories` apart where that column is a `token_seq`; default: the first of `, `, `|`, `;` and a blank
    that the column holds."""


class RecboleReader:
    """Roles `interactions` (.inter: user_id, item_id, timestamp, rating) and `items` (.item), packed or not. Ids are text."""

    options = RecboleOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: RecboleOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the .inter file, in its order."""
        path = files["interactions"]
        source = {name: name for name in EVENT_COLUMNS} | {"user_id": options.user, "item_id": options.item, "timestamp": options.time}
        atomic = _AtomicFile(path)
        for name, reason in PRE_SPLIT.items():
            if name in atomic.names:
                raise BadData(f"{path} {reason}")
        return events_from_table(atomic.read(source, needed=("user_id", "item_id"), strings=AS_WRITTEN), path.name)

    def items(
        self,
        files: Files,
        options: RecboleOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the .item file; the parts of `categories` are joined by commas where the column is a `token_seq`."""
        path = files.get("items")
        if path is None:
            return None
        source = {"item_id": options.item} | {name: options.columns.get(name, name) for name in columns}
        atomic = _AtomicFile(path)
        named = [name for name in options.columns if name in source]
        raw = items_from_table(atomic.read(source, needed=("item_id", *named), strings=tuple(source)), path.name, columns)
        categories = raw.columns.get("categories")
        if categories is None or atomic.kind(source["categories"]) != _SEQUENCE:
            return raw
        return RawItems(raw.item_ids, {**raw.columns, "categories": _enumerated(categories, options.separator)})


class _AtomicFile:
    """A tab-separated file whose columns are called `name:type`; without types, all are text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header, _ = csv_header(path, "\t", quoted=False)
        self.names = [name.partition(":")[0] for name in self._header]

    def kind(self, name: str) -> str:
        """Type behind the name of a column; empty where the header has none."""
        return self._header[self.names.index(name)].partition(":")[2]

    def read(self, source: dict[str, str], *, needed: Sequence[str], strings: Sequence[str]) -> pa.Table:
        """The columns that `source` names, called by its keys.

        Args:
            source: standard name -> name in the file, without its type.
            needed: standard names of which the file must have the column.
            strings: standard names of the columns to leave as they are written.
        """
        for name in needed:
            if source[name] not in self.names:
                has = listed(self.names)
                hint = nearest(source[name], self.names)
                raise BadData(f"{self._path} has no column {source[name]!r}; it has {has}.{hint} Correct [options] in the card.")
        found = {name: self.names.index(column) for name, column in source.items() if column in self.names}
        for name in found:
            if self.names.count(source[name]) > 1:
                times = self.names.count(source[name])
                raise BadData(f"{self._path} names the column {source[name]!r} {times} times. Rename or remove all but one.")
        as_written = [self._header[found[name]] for name in strings if name in found]
        table = read_csv(
            self._path, as_written, columns=[self._header[place] for place in found.values()], delimiter="\t", quoted=False
        )  # fmt: skip
        return pa.table({name: table.column(self._header[place]) for name, place in found.items()})


def _enumerated(categories: Sequence[str | None], separator: str) -> list[str | None]:
    """Sequences joined by commas."""
    if not separator:
        separator = next((mark for mark in _SEPARATORS if any(mark in value for value in categories if value)), _SEPARATORS[0])
    return [None if value is None else ", ".join(filter(None, map(str.strip, value.split(separator)))) for value in categories]


READER = RecboleReader()
