"""The filters of a card, each from events to fewer events."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.ragged import LongArray
from recbench.data.card import Dates, Filter, FirstPerPair, KCore, MinCounts, MinRating
from recbench.data.reader import RawEvents

Mask = NDArray[np.bool_]
_DAY_S = 86_400


def apply_filters(events: RawEvents, filters: Sequence[Filter], name: str) -> tuple[RawEvents, dict[str, int]]:
    """Events left after all filters, in the card's order, and how many events each filter took.

    Raises:
        BadData: nothing is left, or a filter needs what the source lacks.
    """
    taken: dict[str, int] = {}
    for place, rule in enumerate(filters, start=1):
        before = len(events)
        events = _FILTERS[type(rule)](events, rule, name)
        taken[f"removed by filter {place} ({rule.kind})"] = before - len(events)
        if before and not len(events):
            raise BadData(f"{name}: filter {place} ({_describe(rule)}) left none of {before} events. Loosen it in the card.")
    return events, taken


def drop_duplicates(events: RawEvents) -> RawEvents:
    """The first of several events of equal user, item and time; events without times are never taken for duplicates."""
    if events.timestamp is None or not len(events):
        return events
    pair = _pairs(events)
    same = [key for key in (pair, events.timestamp, events.fraction) if key is not None]
    return events.keep(_first_of_equal(same, np.lexsort([*events.time_keys(), pair])))


def _pairs(events: RawEvents) -> LongArray:
    """A number of user and item together: one key to sort by in place of two, (n,) int64."""
    pair = events.user.astype(np.int64)
    pair *= len(events.item_ids)
    pair += events.item
    return pair


def _first_of_equal(keys: Sequence[NDArray[Any]], order: NDArray[np.integer]) -> Mask:
    """True at the first event, in `order`, of each group of equal keys."""
    is_first = np.ones(len(order), dtype=bool)
    if len(order):
        is_first[1:] = False
    for key in keys:
        ordered = key[order]
        is_first[1:] |= ordered[1:] != ordered[:-1]
    mask = np.zeros(len(order), dtype=bool)
    mask[order[is_first]] = True
    return mask


def _describe(rule: Filter) -> str:
    values = ", ".join(f"{key}={value}" for key, value in rule.model_dump(exclude={"kind"}).items() if value is not None)
    return f"{rule.kind} {values}".strip()


def _min_rating(events: RawEvents, rule: MinRating, name: str) -> RawEvents:
    if events.rating is None:
        raise BadData(f"{name}: the filter min-rating needs ratings and the source has none. Remove the filter from the card.")
    return events.keep(events.rating >= rule.value)


def _dates(events: RawEvents, rule: Dates, name: str) -> RawEvents:
    time = _times(events, rule.kind, name)
    mask = np.ones(len(events), dtype=bool)
    if rule.first is not None:
        mask &= time >= _midnight(rule.first)
    if rule.last is not None:
        mask &= time < _midnight(rule.last) + _DAY_S
    return events.keep(mask)


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _times(events: RawEvents, kind: str, name: str) -> LongArray:
    if events.timestamp is None:
        raise BadData(f"{name}: the filter {kind} needs time stamps and the source has none. Remove the filter from the card.")
    return events.timestamp


def _first_per_pair(events: RawEvents, rule: FirstPerPair, name: str) -> RawEvents:  # noqa: ARG001
    pair = _pairs(events)
    return events.keep(_first_of_equal([pair], np.lexsort([*events.time_keys(), pair])))


def _min_counts(events: RawEvents, rule: MinCounts, name: str) -> RawEvents:  # noqa: ARG001
    enough = np.bincount(events.user)[events.user] >= rule.user
    return events.keep(enough & (np.bincount(events.item)[events.item] >= rule.item))


def _k_core(events: RawEvents, rule: KCore, name: str) -> RawEvents:  # noqa: ARG001
    # The core is the same whatever falls first, so counting is all that each round does.
    mask = np.ones(len(events), dtype=bool)
    while True:
        users = np.bincount(events.user[mask], minlength=len(events.user_ids))
        items = np.bincount(events.item[mask], minlength=len(events.item_ids))
        still = mask & (users[events.user] >= rule.user) & (items[events.item] >= rule.item)
        if still.sum() == mask.sum():
            return events.keep(still)
        mask = still


_FILTERS: dict[type, Callable[..., RawEvents]] = {
    MinRating: _min_rating,
    Dates: _dates,
    FirstPerPair: _first_per_pair,
    MinCounts: _min_counts,
    KCore: _k_core,
}
