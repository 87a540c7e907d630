"""RecBole's atomic files: tab-separated, with a header of `name:type`."""

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import events_from_table, items_from_table, read_csv
from recbench.data.reader import Files, RawEvents, RawItems


class RecboleOptions(PluginConfig):
    """Which of the columns hold the texts."""

    user: str = "user_id"
    """Column of the .inter file with users."""
    item: str = "item_id"
    """Column of both files with items."""
    time: str = "timestamp"
    """Column of the .inter file with times."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Standard text column -> column of the .item file, without its type. Columns of standard name need no entry."""


class RecboleReader:
    """Roles `interactions` (.inter: user_id, item_id, timestamp, rating) and `items` (.item)."""

    options = RecboleOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: RecboleOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the .inter file, in its order."""
        path = files["interactions"]
        table = read_csv(path, [f"{name}:token" for name in (options.user, options.item)], delimiter="\t", quoted=False)
        standard = {options.user: "user_id", options.item: "item_id", options.time: "timestamp"}
        return events_from_table(_renamed(table, standard), path.name)

    def items(
        self,
        files: Files,
        options: RecboleOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the .item file; the tokens of `categories`, set apart by blanks, are joined by commas."""
        path = files.get("items")
        if path is None:
            return None
        table = _renamed(read_csv(path, None, delimiter="\t", quoted=False), {options.item: "item_id"})
        for name in options.columns.values():
            if name not in table.column_names:
                raise BadData(f"{path.name} has no column {name!r}; it has {', '.join(table.column_names)}. Correct [options] in the card.")
        standard = {source: name for name, source in options.columns.items()}
        table = _renamed(table, standard)
        raw = items_from_table(table, path.name, columns)
        if "categories" not in raw.columns:
            return raw
        categories = [None if value is None else ", ".join(value.split()) for value in raw.columns["categories"]]
        return RawItems(raw.item_ids, {**raw.columns, "categories": categories})


def _renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """The table without the types behind its columns' names, and some of them renamed."""
    plain = [name.partition(":")[0] for name in table.column_names]
    return table.rename_columns([names.get(name, name) for name in plain])


READER = RecboleReader()
