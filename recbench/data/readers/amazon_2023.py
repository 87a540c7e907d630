"""Amazon reviews of 2023 (Hou et al., arXiv:2403.03952): reviews and metadata as JSON lines, times in milliseconds."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.data.lines import EventLines, lines, parse_json, wanted_id
from recbench.data.product_text import joined, plain, price
from recbench.data.reader import Files, RawEvents, RawItems
from recbench.data.readers.amazon_2014 import ProductTable

_PARENT = re.compile(rb'"parent_asin"\s*:\s*"([^"\\]*)"')
_MILLISECONDS = 1000


class Amazon2023Options(PluginConfig):
    """There are none."""


class Amazon2023Reader:
    """Roles `reviews` (`NAME.jsonl.gz`) and `metadata` (`meta_NAME.jsonl.gz`). An item is a parent product, as its authors advise."""

    options = Amazon2023Options
    needs = ("reviews",)
    has_complete_items = False

    def events(self, files: Files, options: Amazon2023Options, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One event per review, times in milliseconds."""
        path = files["reviews"]
        found = EventLines(path, user="user_id", item="parent_asin", time="timestamp", rating="rating")
        for number, line in lines(path, progress):
            found.add(number, line)
        milliseconds = found.whole_numbers()
        return found.events(milliseconds // _MILLISECONDS, (milliseconds % _MILLISECONDS) / _MILLISECONDS)

    def items(
        self,
        files: Files,
        options: Amazon2023Options,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],
        progress: Progress,
    ) -> RawItems | None:
        """Texts of the items wanted; other lines are not parsed."""
        if "metadata" not in files:
            return None
        path = files["metadata"]
        as_bytes = {item.encode() for item in wanted}
        table = ProductTable(columns)
        for number, line in lines(path, progress):
            named = _PARENT.findall(line)
            if named and as_bytes.isdisjoint(named):
                continue
            row = parse_json(line, number, path)
            item = wanted_id(row, "parent_asin", wanted)
            if item is not None:
                table.add(item, _texts(row))
        return table.items()


def _texts(row: dict[str, Any]) -> dict[str, str | None]:
    return {
        "title": plain(row.get("title")),
        "brand": plain(row.get("store")),
        "categories": joined(row.get("categories")),
        "description": plain(row.get("description")),
        "price": price(row.get("price")),
        "also_bought": joined(row.get("bought_together")),
    }


READER = Amazon2023Reader()
