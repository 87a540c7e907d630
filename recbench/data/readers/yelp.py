"""The Yelp Open Dataset: reviews and businesses as JSON lines."""

import re
from collections.abc import Collection, Sequence

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.data.lines import EventLines, lines, parse_json, wanted_id
from recbench.data.product_text import joined, plain
from recbench.data.reader import Files, RawEvents, RawItems
from recbench.data.times import iso_times

_BUSINESS = re.compile(rb'"business_id"\s*:\s*"([^"\\]*)"')


class YelpOptions(PluginConfig):
    """There are none."""


class YelpReader:
    """Roles `reviews` (`yelp_academic_dataset_review.json`) and `businesses` (`yelp_academic_dataset_business.json`)."""

    options = YelpOptions
    needs = ("reviews",)
    has_complete_items = True

    def events(self, files: Files, options: YelpOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One event per review; times in seconds, or whole days in older releases."""
        path = files["reviews"]
        found = EventLines(path, user="user_id", item="business_id", time="date", rating="stars")
        for number, line in lines(path, progress):
            found.add(number, line)
        times = iso_times(found.times(), "date", path.name)
        return found.events(times.seconds, times.fraction)

    def items(
        self,
        files: Files,
        options: YelpOptions,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],
        progress: Progress,
    ) -> RawItems | None:
        """Name and categories of the businesses wanted; other lines are not parsed."""
        if "businesses" not in files:
            return None
        path = files["businesses"]
        as_bytes = {item.encode() for item in wanted}
        ids: list[str] = []
        texts: dict[str, list[str | None]] = {"title": [], "categories": []}
        for number, line in lines(path, progress):
            named = _BUSINESS.findall(line)
            if named and as_bytes.isdisjoint(named):
                continue
            row = parse_json(line, number, path)
            item = wanted_id(row, "business_id", wanted)
            if item is not None:
                categories = row.get("categories")
                ids.append(item)
                texts["title"].append(plain(row.get("name")))
                texts["categories"].append(joined(categories) if isinstance(categories, list) else plain(categories))
        return RawItems(ids, {name: texts[name] for name in columns if name in texts})


READER = YelpReader()
