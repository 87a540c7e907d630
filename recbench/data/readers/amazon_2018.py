"""Amazon reviews of 2018 (Ni, Li and McAuley 2019): reviews and metadata as JSON lines."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.data.columns import events_by_place
from recbench.data.lines import lines, parse_json, wanted_id
from recbench.data.product_text import joined, plain, price
from recbench.data.reader import Files, RawEvents, RawItems
from recbench.data.readers.amazon_2014 import ProductTable, amazon_reviews

_ASIN = re.compile(rb'"asin"\s*:\s*"([^"\\]*)"')
_RATING_COLUMNS = ("item_id", "user_id", "rating", "timestamp")


class Amazon2018Options(PluginConfig):
    """There are none."""


class Amazon2018Reader:
    """Roles `reviews` (`NAME_5.json.gz`, or the ratings-only `NAME.csv`, item before user) and `metadata` (`meta_NAME.json.gz`)."""

    options = Amazon2018Options
    needs = ("reviews",)
    has_complete_items = False

    def events(self, files: Files, options: Amazon2018Options, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One event per review, times in seconds (whole days)."""
        path = files["reviews"]
        if ".csv" in path.suffixes:
            return events_by_place(path, _RATING_COLUMNS)
        return amazon_reviews(path, progress)

    def items(
        self,
        files: Files,
        options: Amazon2018Options,  # noqa: ARG002
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
            named = _ASIN.findall(line)
            if named and as_bytes.isdisjoint(named):
                continue
            row = parse_json(line, number, path)
            item = wanted_id(row, "asin", wanted)
            if item is not None:
                table.add(item, _texts(row))
        return table.items()


def _texts(row: dict[str, Any]) -> dict[str, str | None]:
    brand = plain(row.get("brand"))
    return {
        "title": plain(row.get("title")),
        # Part of the crawl holds the line "by NAME" as the brand.
        "brand": brand.removeprefix("by ") if brand else None,
        "categories": joined(row.get("category")),
        "description": plain(row.get("description")),
        "price": price(row.get("price")),
        "salesrank": plain(row.get("rank")),
        "also_bought": joined(row.get("also_buy")),
    }


READER = Amazon2018Reader()
