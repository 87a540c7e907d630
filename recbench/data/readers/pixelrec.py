"""PixelRec (Cheng et al., arXiv:2309.06789): interactions and item information as csv."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import events_by_place, items_from_table
from recbench.data.reader import Files, RawEvents, RawItems
from recbench.data.tables import read_csv

# The header of the file is replaced: columns are known by their place (bytedance/HLLM reads them so).
_EVENT_COLUMNS = ("item_id", "user_id", "timestamp")
_ITEM_COLUMNS = {"title": "title", "categories": "tag", "description": "description"}
_LATEST_S = 10_000_000_000
"""The year 2286: what is later counts something smaller than seconds."""


class PixelRecOptions(PluginConfig):
    """Unit of the times."""

    time_unit: Literal["s", "ms"] = "s"
    """Seconds or milliseconds since 1970."""


class PixelRecReader:
    """Roles `interactions` (`Pixel200K.csv` and the like) and `items` (`item_info.csv`)."""

    options = PixelRecOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: PixelRecOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows, in the order of the file."""
        path = files["interactions"]
        found = events_by_place(path, _EVENT_COLUMNS, has_header=True)
        time = np.empty(0, np.int64) if found.timestamp is None else found.timestamp
        if options.time_unit == "ms":
            return replace(found, timestamp=time // 1000, fraction=(time % 1000) / 1000)
        if len(time) and time.max() > _LATEST_S:
            raise BadData(f'{path.name}: the time {time.max()} is no number of seconds. Set options = {{ time_unit = "ms" }} in the card.')
        return found

    def items(
        self,
        files: Files,
        options: PixelRecOptions,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """Title, tag (as categories) and description of every item of the table."""
        path = files.get("items")
        if path is None:
            return None
        table = read_csv(path, None, columns=("item_id", *_ITEM_COLUMNS.values()), needed=("item_id",))
        standard = {source: name for name, source in _ITEM_COLUMNS.items()}
        table = table.rename_columns([standard.get(name, name) for name in table.column_names])
        return items_from_table(table, path.name, columns)


READER = PixelRecReader()
