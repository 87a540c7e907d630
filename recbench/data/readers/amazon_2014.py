"""Amazon reviews of 2014 (J. McAuley, UCSD): reviews as JSON lines or ratings as csv, metadata as Python literals."""

import ast
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import events_by_place
from recbench.data.lines import EventLines, lines, wanted_id
from recbench.data.product_text import joined, plain, price
from recbench.data.reader import Files, RawEvents, RawItems

_ASIN = re.compile(rb"'asin': '([^']*)'")
_RATING_COLUMNS = ("user_id", "item_id", "rating", "timestamp")


class Amazon2014Options(PluginConfig):
    """There are none."""


class Amazon2014Reader:
    """Roles `reviews` (`reviews_NAME_5.json.gz`, or `ratings_NAME.csv` without a header) and `metadata` (`meta_NAME.json.gz`)."""

    options = Amazon2014Options
    needs = ("reviews",)
    has_complete_items = False

    def events(self, files: Files, options: Amazon2014Options, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One event per review, times in seconds (whole days)."""
        path = files["reviews"]
        if ".csv" in path.suffixes:
            return events_by_place(path, _RATING_COLUMNS)
        return amazon_reviews(path, progress)

    def items(
        self,
        files: Files,
        options: Amazon2014Options,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],
        progress: Progress,
    ) -> RawItems | None:
        """Texts of the items wanted. Only lines that name one of them are evaluated, as literals."""
        if "metadata" not in files:
            return None
        path = files["metadata"]
        as_bytes = {item.encode() for item in wanted}
        table = ProductTable(columns)
        for number, line in lines(path, progress):
            # A description may quote an item's id; so any id on the line lets it through, and the literal decides.
            named = _ASIN.findall(line)
            if named and as_bytes.isdisjoint(named):
                continue
            row = _literal(line, number, path)
            item = wanted_id(row, "asin", wanted)
            if item is not None:
                table.add(item, _texts(row))
        return table.items()


class ProductTable:
    """Collects texts of products, the first line of each id; re-crawled files hold some ids twice."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._rows: dict[str, int] = {}
        self._columns: dict[str, list[str | None]] = {name: [] for name in columns}
        self._n_repeated = 0

    def add(self, item: str, texts: dict[str, str | None]) -> None:
        """One product."""
        if item in self._rows:
            self._n_repeated += 1
            return
        self._rows[item] = len(self._rows)
        for name, column in self._columns.items():
            column.append(texts.get(name))

    def items(self) -> RawItems:
        """All products added."""
        notes = {"repeated metadata lines ignored": self._n_repeated} if self._n_repeated else {}
        return RawItems(list(self._rows), self._columns, notes)


def amazon_reviews(path: Path, progress: Progress) -> RawEvents:
    """Events of a file of reviews as Amazon 2014 and 2018 write them."""
    found = EventLines(path, user="reviewerID", item="asin", time="unixReviewTime", rating="overall")
    for number, line in lines(path, progress):
        found.add(number, line)
    return found.events(found.whole_numbers())


def _literal(line: bytes, number: int, path: Path) -> dict[str, Any]:
    row, fault = None, None
    try:
        row = ast.literal_eval(line.decode("utf-8").strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        fault = error
    # Raised outside of the handler: the parser's MemoryError says that the line is nested too deep, not that memory is short.
    if fault is not None:
        raise BadData(f"{path}, line {number} is not a Python literal: {fault}. The file was altered or is of another format.")
    if not isinstance(row, dict):
        raise BadData(f"{path}, line {number} is not a dictionary. The file is of another format.")
    return row


def _texts(row: dict[str, Any]) -> dict[str, str | None]:
    related = row.get("related")
    return {
        "title": plain(row.get("title")),
        "brand": plain(row.get("brand")),
        "categories": joined(row.get("categories")),
        "description": plain(row.get("description")),
        "price": price(row.get("price")),
        "salesrank": _sales_rank(row.get("salesRank")),
        "also_bought": joined(related.get("also_bought")) if isinstance(related, dict) else None,
    }


def _sales_rank(ranks: Any) -> str | None:
    return ", ".join(f"{plain(name)} {plain(rank)}" for name, rank in ranks.items()) or None if isinstance(ranks, dict) else None


READER = Amazon2014Reader()
