"""RecBole's atomic files: tab-separated, with a header of `name:type`."""

from collections.abc import Collection, Sequence

import pyarrow as pa
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import events_from_table, items_from_table, read_csv
from recbench.data.reader import Files, RawEvents, RawItems


class RecboleOptions(PluginConfig):
    """Which of the columns hold the texts."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Standard text column -> column of the .item file, without its type. Columns of standard name need no entry."""


class RecboleReader:
    """Roles `interactions` (.inter: user_id, item_id, timestamp, rating) and `items` (.item)."""

    options = RecboleOptions
    has_complete_items = True

    def events(self, files: Files, options: RecboleOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the .inter file, in its order."""
        path = files["interactions"]
        table = read_csv(path, ("user_id:token", "item_id:token"), delimiter="\t", quoted=False)
        return events_from_table(_without_types(table), path.name)

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
        table = _without_types(read_csv(path, None, delimiter="\t", quoted=False))
        for name in options.columns.values():
            if name not in table.column_names:
                raise BadData(f"{path.name} has no column {name!r}; it has {', '.join(table.column_names)}. Correct [options] in the card.")
        standard = {source: name for name, source in options.columns.items()}
        table = table.rename_columns([standard.get(name, name) for name in table.column_names])
        raw = items_from_table(table, path.name, columns)
        if "categories" not in raw.columns:
            return raw
        categories = [None if value is None else ", ".join(value.split()) for value in raw.columns["categories"]]
        return RawItems(raw.item_ids, {**raw.columns, "categories": categories})


def _without_types(table: pa.Table) -> pa.Table:
    return table.rename_columns([name.partition(":")[0] for name in table.column_names])


READER = RecboleReader()
