"""From located files to a data set: read, drop duplicates, filter, number, sort, check."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from recbench.core.config import PluginConfig, explain
from recbench.core.errors import BadConfig, BadData
from recbench.core.interactions import Interactions, ItemTable, StringArray, TimeKind
from recbench.core.progress import Progress
from recbench.core.ragged import IntArray, LongArray
from recbench.data.card import DatasetCard
from recbench.data.dataset import Dataset
from recbench.data.filters import apply_filters, drop_duplicates
from recbench.data.location import Located
from recbench.data.plugins import load_reader
from recbench.data.reader import RawEvents, RawItems, Reader, string_array

_SHOWN = 3
_LATEST_S = 10_000_000_000
"""The year 2286: what is later counts something smaller than seconds."""


def read_dataset(located: Located, progress: Progress) -> Dataset:
    """The data set whose files were located, filtered as its card says and of the size that it says.

    Raises:
        BadData: a file is damaged or contradicts itself or the card; the message names file and value.
        BadConfig: the card gives the reader a setting it does not know.
    """
    reader = load_reader(located.reader)
    options = reader_options(reader, located.card)
    lacking = [role for role in reader.needs if role not in located.files]
    if lacking:
        raise BadConfig(
            f"{located.card.name}: the reader {located.reader!r} needs a file of role {lacking[0]!r}; "
            f"the source has {', '.join(located.files) or 'none'}. Correct [[sources]] in the card."
        )
    notes: dict[str, int | float | str] = {}
    with progress.task(f"read {located.card.name}"):
        events = reader.events(located.files, options, progress)
        if not len(events):
            raise BadData(f"{_sources(located)}: there is no event in it. Check the file.")
        notes |= events.notes
        card = _with_time(located.card, events, notes)
        if card.duplicates == "drop":
            n_before = len(events)
            events = drop_duplicates(events)
            notes["duplicate events dropped"] = n_before - len(events)
        events, taken = apply_filters(events, card.filters, card.name)
        notes |= taken
        wanted = _used_ids(events)
        raw_items = reader.items(located.files, options, card.text_columns, wanted, progress)
        items = _item_table(raw_items, wanted, card, reader, located, notes)
        dataset = _assemble(events, items, card, located, notes)
    check_counts(dataset, located.origin)
    return dataset


def reader_options(reader: Reader, card: DatasetCard) -> PluginConfig:
    """The reader's settings from the card; an unknown one is a `BadConfig`."""
    try:
        return reader.options.model_validate(card.options)
    except ValidationError as error:
        raise explain(error, list(reader.options.model_fields), f"[options] of the data set {card.name!r}") from None


def check_counts(dataset: Dataset, origin: str) -> None:
    """Compare sizes with the card; a difference is a `BadData` that shows both numbers."""
    counts = dataset.card.counts
    found = {"users": dataset.n_users, "items": dataset.n_items, "interactions": dataset.n_interactions}
    wrong = [
        f"{found[name]:,} {name}, {expected:,} expected"
        for name, expected in counts.model_dump().items()
        if expected is not None and expected != found[name]
    ]
    if wrong:
        raise BadData(
            f"{dataset.card.name} ({origin}) does not have the size that its card states: {'; '.join(wrong)}. "
            "These are other data under the same name: get the right files, or correct [counts] in the card."
        )


def _sources(located: Located) -> str:
    return ", ".join(path.name for path in located.files.values()) or located.card.name


def _some(values: Sequence[object]) -> str:
    shown = ", ".join(repr(value) for value in values[:_SHOWN])
    return shown + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")


def _with_time(card: DatasetCard, events: RawEvents, notes: dict[str, int | float | str]) -> DatasetCard:
    """The card with its kind of time settled."""
    if card.time == "detect":
        if events.timestamp is None:
            kind, reason = "none", "there is no column timestamp; the order of the file counts"
        elif _are_positions(events.user, events.timestamp):
            kind, reason = "position", "each user's time stamps are 0 to n-1"
        else:
            kind, reason = "seconds", "time stamps are not each user's 0 to n-1"
        notes["time"] = f"{kind}: {reason}"
        card = card.model_copy(update={"time": kind})
    if card.time == "seconds" and events.timestamp is not None and events.timestamp.max() > _LATEST_S:
        raise BadData(
            f"{card.name}: the time {events.timestamp.max()} is no number of seconds since 1970. Convert milliseconds to seconds."
        )
    if card.time != "none" and events.timestamp is None:
        raise BadData(f"{card.name}: the card says time = {card.time!r}, but the source has no time stamps. Correct one of them.")
    return card


def _are_positions(user: IntArray, timestamp: LongArray) -> bool:
    order = np.lexsort((timestamp, user))
    sorted_user = user[order]
    starts = np.flatnonzero(np.r_[True, sorted_user[1:] != sorted_user[:-1]])
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return bool(np.array_equal(timestamp[order], place))


def _used_ids(events: RawEvents) -> set[str]:
    return set(events.item_ids[np.unique(events.item)].tolist())


def _item_table(
    raw: RawItems | None,
    wanted: Collection[str],
    card: DatasetCard,
    reader: Reader,
    located: Located,
    notes: dict[str, int | float | str],
) -> ItemTable:
    """The catalogue in the order of its ids, with the texts that are known."""
    if raw is None:
        return ItemTable(string_array(sorted(wanted)), {})
    notes |= raw.notes
    file = located.files["items"].name if "items" in located.files else _sources(located)
    row_of: dict[str, int] = {}
    repeated = [item for row, item in enumerate(raw.item_ids) if row_of.setdefault(item, row) != row]
    if repeated:
        raise BadData(f"{file}: item ids stand there twice: {_some(repeated)}. Keep one row for each item.")
    missing = sorted(item for item in wanted if item not in row_of)
    if missing and reader.has_complete_items:
        raise BadData(f"{file} lacks items that have events: {_some(missing)}. Add their rows or remove their events.")
    if missing:
        notes["items without metadata"] = len(missing)
    if card.catalogue == "events" or not reader.has_complete_items:
        item_ids = sorted(wanted)
        notes["items without events left out"] = len(row_of) - (len(wanted) - len(missing))
    else:
        item_ids = sorted(row_of)
        notes["items without events"] = len(row_of) - len(wanted)
    columns = {}
    for name in card.text_columns:
        values = raw.columns.get(name)
        if values is None:
            continue
        column = string_array(_text(values[row_of[item]]) if item in row_of else None for item in item_ids)
        if any(value is not None for value in column):
            columns[name] = column
    return ItemTable(string_array(item_ids), columns)


def _text(value: str | None) -> str | None:
    """Text without white space around it; nothing but white space is null."""
    return (value.strip() or None) if value is not None else None


@dataclass(frozen=True)
class _Numbering:
    """Row numbers by sorted id: `ids[row]` is an id, `row[number]` the row of a reader's number, -1 if unused."""

    ids: StringArray
    row: IntArray


def _number_by_id(numbers: IntArray, ids: StringArray) -> _Numbering:
    used = np.unique(numbers)
    order = sorted(used.tolist(), key=ids.__getitem__)
    row = np.full(len(ids), -1, dtype=np.int32)
    row[order] = np.arange(len(order), dtype=np.int32)
    return _Numbering(ids[order], row)


def _assemble(events: RawEvents, items: ItemTable, card: DatasetCard, located: Located, notes: dict[str, int | float | str]) -> Dataset:
    users = _number_by_id(events.user, events.user_ids)
    item_rows = {item: row for row, item in enumerate(items.item_ids)}
    item_row = np.fromiter((item_rows.get(item, -1) for item in events.item_ids), dtype=np.int32, count=len(events.item_ids))
    user = users.row[events.user]
    kind = TimeKind(card.time)
    time = np.zeros(len(events), dtype=np.int64) if events.timestamp is None or kind is TimeKind.NONE else events.timestamp
    notes["events out of time order, sorted"] = _out_of_order(user, time)
    keys = (time, user) if events.position is None else (events.position, time, user)
    # lexsort is stable: events that agree in all keys keep the order of the source.
    order = np.lexsort(keys)
    offsets = np.zeros(len(users.ids) + 1, dtype=np.int64)
    np.cumsum(np.bincount(user, minlength=len(users.ids)), out=offsets[1:])
    time = time[order]
    if kind is TimeKind.POSITION:
        _check_positions(user[order], time, users.ids, _sources(located))
        time = np.arange(len(time), dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))
    interactions = Interactions(item_row[events.item[order]], offsets, time, len(items), kind)
    return Dataset(card, interactions, items, users.ids, notes)


def _out_of_order(user: IntArray, time: LongArray) -> int:
    """How many events stand behind a later one of the same user."""
    by_user = np.argsort(user, kind="stable")
    same = user[by_user][1:] == user[by_user][:-1]
    return int(np.count_nonzero(same & (np.diff(time[by_user]) < 0)))


def _check_positions(user: IntArray, position: LongArray, user_ids: StringArray, file: str) -> None:
    twice = np.flatnonzero((user[1:] == user[:-1]) & (position[1:] == position[:-1]))
    if len(twice):
        at = twice[0]
        raise BadData(
            f"{file}: user {user_ids[user[at]]!r} has two events at position {position[at]}, and the card says "
            "that time stamps are positions. "
            "Number each user's events 0, 1, 2 and so on, or set time in the card."
        )
