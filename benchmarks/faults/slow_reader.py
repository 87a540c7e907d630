"""What data mean, worked out once more and slowly: plain loops over plain values, nothing of recbench in it.

The fuzz campaign holds what recbench accepts against this. Times are exact fractions, ids are texts, ranks are counted one by one.
"""

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "rating", "position")
TEXTS = ("title", "brand", "categories", "description", "price")


class CannotRead(Exception):
    """The slow reader sees no meaning in an input."""


@dataclass(frozen=True)
class Event:
    """One line of the log; `time` is None where the source has none."""

    user: str
    item: str
    time: Fraction | None
    rating: float | None = None
    position: Fraction | None = None


@dataclass(frozen=True)
class Figures:
    """What two readers of the same files must agree on.

    Attributes:
        sizes: users, items, events.
        targets: the test item of every user that has one.
        ranks: of these targets in the list of the most popular items, with and without the history, -1 for a miss.
        ndcg: mean NDCG@10 of both.
        texts: of every item, by column.
    """

    sizes: tuple[int, int, int]
    targets: dict[str, str]
    ranks: dict[str, tuple[int, int]]
    ndcg: tuple[float, float]
    texts: dict[str, dict[str, str]]


Table = tuple[list[str], list[list[Any]]]


def csv_table(path: Path, delimiter: str = ",", *, quoted: bool = True) -> Table:
    """Header and rows of a text file, every cell a text."""
    text = path.read_bytes().decode("utf-8-sig")
    if quoted:
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
        except csv.Error as error:
            raise CannotRead(str(error)) from None
    else:
        rows = [line.split(delimiter) for line in text.replace("\r\n", "\n").split("\n") if line]
    if not rows:
        raise CannotRead("no header")
    header, body = rows[0], rows[1:]
    if any(len(row) != len(header) for row in body):
        raise CannotRead("a row of another length than the header")
    return header, body


def parquet_table(path: Path) -> Table:
    """Header and rows of a parquet file, cells as Python has them; times as datetimes lose what is below a microsecond.

    A damaged column whose name means nothing holds None throughout.
    """
    file = pq.ParquetFile(path)
    names = list(file.schema_arrow.names)
    columns: list[list[Any]] = []
    for place, name in enumerate(names):
        try:
            column = _column(file, names, place)
        except OSError:
            if name in _EVENT_COLUMNS or name in TEXTS:
                raise
            columns.append([None] * file.metadata.num_rows)
            continue
        if pa.types.is_timestamp(column.type):
            columns.append([None if value is None else Fraction(value, _PER_SECOND[column.type.unit]) for value in _integers(column)])
        elif pa.types.is_date32(column.type):  # days, which reach beyond the dates that Python knows
            columns.append([None if value is None else Fraction(86_400 * value) for value in _integers(column.cast(pa.int32()))])
        elif pa.types.is_float32(column.type):  # the number that would be written
            columns.append([None if value is None else float(str(np.float32(value))) for value in column.to_pylist()])
        else:
            columns.append(column.to_pylist())
    return names, [list(row) for row in zip(*columns, strict=True)]


def _column(file: pq.ParquetFile, names: Sequence[str], place: int) -> pa.ChunkedArray:
    """One column; all are read where another has the same name."""
    return file.read([names[place]]).column(0) if names.count(names[place]) == 1 else file.read().column(place)


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _integers(column: pa.ChunkedArray) -> list[int | None]:
    values: list[int | None] = column.cast(pa.int64()).to_pylist()
    return values


def events_of(table: Table, names: Mapping[str, str] | None = None) -> list[Event]:
    """The events in a table; `names` gives standard names to columns."""
    header = [(names or {}).get(name, name) for name in table[0]]
    for name in _EVENT_COLUMNS[:2]:
        if header.count(name) != 1:
            raise CannotRead(f"{header.count(name)} columns {name}")
    for name in _EVENT_COLUMNS[2:]:
        if header.count(name) > 1:
            raise CannotRead(f"several columns {name}")
    if "item_id_list" in header:
        raise CannotRead("a file that was split before")
    at = {name: header.index(name) for name in _EVENT_COLUMNS if name in header}
    events = []
    for row in table[1]:
        cells = {name: row[place] for name, place in at.items()}
        events.append(
            Event(
                _id(cells["user_id"]),
                _id(cells["item_id"]),
                _time(cells["timestamp"]) if "timestamp" in at else None,
                _rating(cells["rating"]) if "rating" in at else None,
                _time(cells["position"]) if "position" in at else None,
            )
        )
    return events


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise CannotRead(f"an id {value!r}")
    return str(value)


def _time(value: Any) -> Fraction:
    """Seconds since 1970, or any other number that counts up."""
    if isinstance(value, bool) or value is None:
        raise CannotRead(f"a time {value!r}")
    if isinstance(value, datetime):
        return Fraction((value.replace(tzinfo=value.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    if isinstance(value, date):
        return Fraction((value - date(1970, 1, 1)).days * 86_400)
    if isinstance(value, float) and not math.isfinite(value):
        raise CannotRead(f"a time {value!r}")
    if isinstance(value, str):
        text = value.strip()
        try:
            number = Decimal(text)
            if number.is_finite():
                return Fraction(number)
        except ArithmeticError:
            pass
        try:
            return _time(datetime.fromisoformat(text))
        except ValueError:
            raise CannotRead(f"a time {value!r}") from None
    return Fraction(value)


def _rating(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CannotRead(f"a rating {value!r}") from None


def texts_of(table: Table, names: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Of every item the texts that are no white space, stripped; cells that are no text are left out."""
    header = [(names or {}).get(name, name) for name in table[0]]
    if header.count("item_id") != 1 or any(header.count(name) > 1 for name in TEXTS):
        raise CannotRead("not one column of each name")
    texts: dict[str, dict[str, str]] = {}
    for row in table[1]:
        item = _id(row[header.index("item_id")])
        if item in texts:
            raise CannotRead(f"item {item!r} twice")
        cells = {name: row[header.index(name)] for name in TEXTS if name in header}
        texts[item] = {name: cell.strip() for name, cell in cells.items() if isinstance(cell, str) and cell.strip()}
    return texts


def without_duplicates(events: Sequence[Event]) -> list[Event]:
    """The first of several events of equal user, item and time, first by position and then by the order of the file."""
    if not events or events[0].time is None:
        return list(events)
    groups = defaultdict(list)
    for number, event in enumerate(events):
        groups[event.user, event.item, event.time].append(number)
    kept = {min(numbers, key=lambda number: (_position(events[number]), number)) for numbers in groups.values()}
    return [event for number, event in enumerate(events) if number in kept]


def _position(event: Event) -> Fraction:
    return Fraction(0) if event.position is None else event.position


def filtered(events: Sequence[Event], rules: Sequence[Mapping[str, Any]]) -> list[Event]:
    """What is left after the filters of a card, in their order."""
    left = list(events)
    for rule in rules:
        left = _FILTERS[rule["kind"]](left, rule)
    return left


def _min_rating(events: list[Event], rule: Mapping[str, Any]) -> list[Event]:
    if any(event.rating is None for event in events) and all(event.rating is None for event in events):
        raise CannotRead("no ratings")
    return [event for event in events if event.rating is not None and event.rating >= rule["value"]]


def _min_counts(events: list[Event], rule: Mapping[str, Any]) -> list[Event]:
    users, items = Counter(event.user for event in events), Counter(event.item for event in events)
    return [event for event in events if users[event.user] >= rule.get("user", 1) and items[event.item] >= rule.get("item", 1)]


def _k_core(events: list[Event], rule: Mapping[str, Any]) -> list[Event]:
    while True:
        left = _min_counts(events, rule)
        if len(left) == len(events):
            return left
        events = left


def _first_per_pair(events: list[Event], rule: Mapping[str, Any]) -> list[Event]:  # noqa: ARG001
    groups = defaultdict(list)
    for number, event in enumerate(events):
        groups[event.user, event.item].append(number)
    times = [Fraction(0) if event.time is None else event.time for event in events]
    kept = {min(numbers, key=lambda number: (times[number], _position(events[number]), number)) for numbers in groups.values()}
    return [event for number, event in enumerate(events) if number in kept]


_FILTERS = {"min-rating": _min_rating, "min-counts": _min_counts, "k-core": _k_core, "first-per-pair": _first_per_pair}


def figures(events: Sequence[Event], texts: dict[str, dict[str, str]] | None) -> Figures:
    """All that is compared, from events after filters, and the item table where there is one."""
    used = {event.item for event in events}
    if texts is not None and not used <= texts.keys():
        raise CannotRead("events of items that the item table lacks")
    items = sorted(used if texts is None else texts)
    histories: dict[str, list[str]] = {}
    # Without times the order of the source counts, whatever else it says.
    keys = [(Fraction(0), Fraction(0)) if event.time is None else (event.time, _position(event)) for event in events]
    numbered = sorted(range(len(events)), key=lambda number: (*keys[number], number))
    for number in numbered:
        histories.setdefault(events[number].user, []).append(events[number].item)
    train: Counter[str] = Counter()
    for history in histories.values():
        train.update(history if len(history) < 3 else history[:-2])
    popular = sorted(items, key=lambda item: (-train[item], item))
    targets, ranks = {}, {}
    for user, history in sorted(histories.items()):
        if len(history) < 3:
            continue
        *seen, target = history
        targets[user] = target
        keep = popular[:50].index(target) if target in popular[:50] else -1
        unseen = [item for item in popular if item not in seen][:50]
        ranks[user] = (keep, unseen.index(target) if target in unseen else -1)
    ndcg = tuple(math.fsum(_gain(pair[view]) for pair in ranks.values()) / max(len(ranks), 1) for view in (0, 1))
    return Figures((len(histories), len(items), len(events)), targets, ranks, (ndcg[0], ndcg[1]), {} if texts is None else texts)


def _gain(rank: int) -> float:
    return 1.0 / math.log2(rank + 2.0) if 0 <= rank < 10 else 0.0
