"""From located files to a data set: read, drop duplicates, filter, number, sort, check."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from recbench.core.config import PluginConfig, explain
from recbench.core.errors import BadConfig, BadData
from recbench.core.interactions import UNKNOWN_TIME, Interactions, ItemTable, StringArray, TimeKind
from recbench.core.progress import Progress
from recbench.core.ragged import IntArray, LongArray
from recbench.core.visible import listed
from recbench.data.card import DatasetCard
from recbench.data.dataset import WITHIN_A_SECOND, Dataset
from recbench.data.filters import apply_filters, drop_duplicates
from recbench.data.located import Located
from recbench.data.plugins import load_reader
from recbench.data.reader import HasSide, RawEvents, RawItems, Reader, string_array
from recbench.data.side import side_tables
from recbench.data.time_kinds import with_time
from recbench.data.unpacking import refuse_damage

_SHOWN = 3


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
            f"the source has {listed(located.files)}. Correct [[sources]] in the card."
        )
    notes: dict[str, int | float | str] = {}
    with progress.task(f"read {located.card.name}"):
        with _guarded(located):
            events = reader.events(located.files, options, progress)
        # Arrow keeps what tables have freed for the next ones, and there are none.
        pa.default_memory_pool().release_unused()
        if not len(events):
            raise BadData(f"{_sources(located)}: there is no event in it. Check the file.")
        notes |= events.notes
        card = with_time(located.card, events, notes)
        if card.duplicates == "drop":
            n_before = len(events)
            events = drop_duplicates(events)
            notes["duplicate events dropped"] = n_before - len(events)
        events, taken = apply_filters(events, card.filters, card.name)
        notes |= taken
        wanted = _used_ids(events)
        with _guarded(located):
            raw_items = reader.items(located.files, options, (*card.text_columns, *card.model_columns), wanted, progress)
        items = _item_table(raw_items, wanted, card, reader, located, notes)
        dataset = _assemble(events, items, card, located, notes, are_numbered=located.card.time == "position")
        if isinstance(reader, HasSide):
            with _guarded(located):
                raw_side = reader.side(located.files, options, progress)
            dataset = replace(dataset, side=side_tables(raw_side, dataset.user_ids, dataset.items.item_ids, dataset.interactions))
    check_counts(dataset, located.origin)
    return dataset


@contextmanager
def _guarded(located: Located) -> Iterator[None]:
    """Name the files where a reader meets damage that it does not know of itself."""
    with refuse_damage(
        Path(_sources(located)), f"the reader {located.reader!r} cannot make sense of it", "It is damaged or of another format."
    ):
        yield


def reader_options(reader: Reader, card: DatasetCard) -> PluginConfig:
    """The reader's settings from the card; an unknown one is a `BadConfig`."""
    try:
        return reader.options.model_validate(card.options)
    except ValidationError as error:
        raise explain(error, list(reader.options.model_fields), f"[options] of the data set {card.name!r}") from None


def check_counts(dataset: Dataset, origin: str) -> None:
    """Compare sizes with the card; a difference is a `BadData` that shows both numbers."""
    counts = dataset.card.counts
    rows, entries = dataset.n_users, dataset.n_interactions
    found = {"users": rows, "items": dataset.n_items, "interactions": entries, "bundles": rows, "pairs": entries}
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


def _used_ids(events: RawEvents) -> set[str]:
    return set(events.item_ids[_used(events.item, events.item_ids)].tolist())


def _used(numbers: IntArray, ids: StringArray) -> LongArray:
    """The numbers of ids that stand there, each once, ascending."""
    return np.flatnonzero(np.bincount(numbers, minlength=len(ids)))


def _item_table(
    raw: RawItems | None,
    wanted: Collection[str],
    card: DatasetCard,
    reader: Reader,
    located: Located,
    notes: dict[str, int | float | str],
) -> ItemTable:
    """The catalogue in the order of its ids, with the texts and model columns that are known."""
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
    rows = [row_of.get(item) for item in item_ids]
    return ItemTable(string_array(item_ids), _filled(raw, card.text_columns, rows), _filled(raw, card.model_columns, rows))


def _filled(raw: RawItems, names: Sequence[str], rows: Sequence[int | None]) -> dict[str, StringArray]:
    """Columns of the catalogue, null for an item whose row is None; one without any value is left out."""
    columns = {}
    for name in names:
        values = raw.columns.get(name)
        if values is None:
            continue
        column = string_array(None if row is None else _text(values[row]) for row in rows)
        if any(value is not None for value in column):
            columns[name] = column
    return columns


def _text(value: str | None) -> str | None:
    """Text without white space around it; nothing but white space is null."""
    return (value.strip() or None) if value is not None else None


@dataclass(frozen=True)
class _Numbering:
    """Row numbers by sorted id: `ids[row]` is an id, `row[number]` the row of a reader's number, -1 if unused."""

    ids: StringArray
    row: IntArray


def _number_by_id(numbers: IntArray, ids: StringArray) -> _Numbering:
    order = sorted(_used(numbers, ids).tolist(), key=ids.__getitem__)
    row = np.full(len(ids), -1, dtype=np.int32)
    row[order] = np.arange(len(order), dtype=np.int32)
    return _Numbering(ids[order], row)


def _assemble(
    events: RawEvents,
    items: ItemTable,
    card: DatasetCard,
    located: Located,
    notes: dict[str, int | float | str],
    *,
    are_numbered: bool,
) -> Dataset:
    """Events in the order of rows and times.

    Args:
        events: what filters left.
        items: the catalogue.
        card: with its kind of time settled.
        located: where the events came from.
        notes: taken further.
        are_numbered: whether the card promises positions, of which a user has each once.
    """
    users = _number_by_id(events.user, events.user_ids)
    item_rows = {item: row for row, item in enumerate(items.item_ids)}
    item_row = np.fromiter((item_rows.get(item, -1) for item in events.item_ids), dtype=np.int32, count=len(events.item_ids))
    user = users.row[events.user]
    kind = TimeKind(card.time)
    times = [] if kind is TimeKind.NONE or events.timestamp is None else events.time_keys()
    # lexsort is stable: events that agree in all keys keep the order of the source.
    order = np.lexsort([*times, user])
    notes["events out of time order, sorted"] = _out_of_order(user, order)
    offsets = np.zeros(len(users.ids) + 1, dtype=np.int64)
    np.cumsum(np.bincount(user, minlength=len(users.ids)), out=offsets[1:])
    time = events.timestamp[order] if times and events.timestamp is not None else np.zeros(len(events), dtype=np.int64)
    if kind is TimeKind.POSITION:
        if are_numbered:
            _check_positions(user[order], time, users.ids, _sources(located))
        time = np.arange(len(time), dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))
    elif events.fraction is not None:
        notes[WITHIN_A_SECOND] = _n_within_a_second(user[order], time, events.fraction[order])
    # Seconds that order events are the real times already.
    unix_time = None if kind is TimeKind.SECONDS or events.unix_time is None else events.unix_time[order]
    if unix_time is not None:
        notes["real times"] = f"unix_time has them for {np.count_nonzero(unix_time != UNKNOWN_TIME):,} of {len(unix_time):,} events"
    interactions = Interactions(item_row[events.item[order]], offsets, time, len(items), kind, unix_time)
    return Dataset(card, interactions, items, users.ids, notes)


def _out_of_order(user: IntArray, order: LongArray) -> int:
    """How many events a later one of the same user stands in front of in the source, directly among the user's own."""
    if (order[1:] > order[:-1])[user[order[1:]] == user[order[:-1]]].all():
        return 0
    by_user = np.argsort(user, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    same = user[by_user][1:] == user[by_user][:-1]
    return int(np.count_nonzero(same & (np.diff(place[by_user]) < 0)))


def _n_within_a_second(user: IntArray, time: LongArray, fraction: NDArray[np.float64]) -> int:
    """How many events come after another of the same user and second, told apart by the fraction alone."""
    same = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
    return int(np.count_nonzero(same & (fraction[1:] != fraction[:-1])))


def _check_positions(user: IntArray, position: LongArray, user_ids: StringArray, file: str) -> None:
    twice = np.flatnonzero((user[1:] == user[:-1]) & (position[1:] == position[:-1]))
    if len(twice):
        at = twice[0]
        raise BadData(
            f"{file}: user {user_ids[user[at]]!r} has two events at position {position[at]}, and the card says "
            "that time stamps are positions. "
            "Number each user's events 0, 1, 2 and so on, or set time in the card."
        )
