"""Meaning of the times of a source: seconds since 1970, or no more than an order."""

import datetime as dt

import numpy as np

from recbench.core.errors import BadData
from recbench.core.interactions import UNKNOWN_TIME
from recbench.core.ragged import IntArray, LongArray
from recbench.data.card import DatasetCard
from recbench.data.reader import RawEvents

_FIRST_S = 100_000_000
"""3 March 1973, before all data of this field: what ends earlier counts something else, such as places, days or minutes."""
_LATEST_S = 10_000_000_000
"""The year 2286: what is later counts something smaller than seconds."""
_FIRST_DAY, _LAST_DAY = 19_000_101, 21_001_231
"""Calendar days written as numbers."""


def with_time(card: DatasetCard, events: RawEvents, notes: dict[str, int | float | str]) -> DatasetCard:
    """The card with its kind of time settled; what was decided, and why, goes into `notes`.

    Raises:
        BadData: the card calls times seconds that cannot be, or speaks of times and there are none; or a column unix_time holds none.
    """
    if events.unix_time is not None:
        _refuse_other_than_seconds(card.name, events.unix_time)
    if events.timestamp is None:
        if card.time == "detect":
            notes["time"] = "none: there is no column timestamp; the order of the file counts"
            return card.model_copy(update={"time": "none"})
        if card.time != "none":
            raise BadData(f"{card.name}: the card says time = {card.time!r}, but the source has no time stamps. Correct one of them.")
        return card
    if card.time in {"position", "none"}:
        return card
    _refuse_smaller_units(card.name, events.timestamp)
    reason = _why_no_seconds(events, events.timestamp)
    if card.time == "seconds":
        if reason is not None and reason[1]:
            raise BadData(
                f"{card.name}: the card says time = 'seconds', but {reason[0]}. "
                "Convert them to seconds since 1970, or say time = 'position' (or 'detect') in the card: then they are an order only."
            )
        if reason is not None:
            notes["time"] = f"seconds, as the card says, though {reason[0]}"
        return card
    notes["time"] = f"position: {reason[0]}; they are an order only" if reason else "seconds since 1970, or dates read as such"
    return card.model_copy(update={"time": "position" if reason else "seconds"})


def _refuse_other_than_seconds(name: str, unix_time: LongArray) -> None:
    known = unix_time[unix_time != UNKNOWN_TIME]
    _refuse_smaller_units(name, known)
    last = int(known.max())
    if last < _FIRST_S or _are_calendar_hours(known):
        raise BadData(
            f"{name}: the column 'unix_time' ends with {last}, which is no time in seconds since 1970. "
            "Convert it to seconds, or give the column another name: then it is ignored."
        )


def _refuse_smaller_units(name: str, timestamp: LongArray) -> None:
    for odd in (int(timestamp.max()), int(timestamp.min())):
        if not -_LATEST_S <= odd <= _LATEST_S:
            raise BadData(f"{name}: the time {odd} is no number of seconds since 1970. Convert milliseconds to seconds.")


def _why_no_seconds(events: RawEvents, timestamp: LongArray) -> tuple[str, bool] | None:
    """Why time stamps are no seconds since 1970, and whether that is certain; None where they may well be."""
    last = int(timestamp.max())
    if events.fraction is None and _are_calendar_hours(timestamp):
        return f"time stamps such as {last} are calendar days with an hour behind them", True
    if last >= _FIRST_S:
        return None
    if events.fraction is None:
        for first, described in ((0, "each user's time stamps are 0 to n-1"), (1, "each user's time stamps are 1 to n")):
            if _are_numbered(events.user, timestamp, first):
                return described, len(events) > len(np.unique(events.user))
        if _are_calendar_days(timestamp):
            return f"time stamps such as {last} are calendar days written as numbers", True
    when = dt.datetime.fromtimestamp(last, dt.UTC)
    return f"the last time stamp, {last}, would lie in {when:%B %Y} as seconds since 1970", False


def _are_numbered(user: IntArray, timestamp: LongArray, first: int) -> bool:
    """Whether the times of each user are `first`, `first` + 1 and so on, in any order."""
    order = np.lexsort((timestamp, user))
    sorted_user = user[order]
    starts = np.flatnonzero(np.r_[True, sorted_user[1:] != sorted_user[:-1]])
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return bool(np.array_equal(timestamp[order], place + first))


def _are_calendar_days(timestamp: LongArray) -> bool:
    """Whether every number is a day such as 20140101."""
    return timestamp.min() >= _FIRST_DAY and timestamp.max() <= _LAST_DAY and _are_days(timestamp)


def _are_calendar_hours(timestamp: LongArray) -> bool:
    """Whether every number is a day and an hour such as 2014010123; as seconds since 1970 all of them would lie from 2030 on."""
    if timestamp.min() < _FIRST_DAY * 100 or timestamp.max() > _LAST_DAY * 100 + 23:
        return False
    return bool((timestamp % 100 < 24).all()) and _are_days(timestamp // 100)


def _are_days(numbers: LongArray) -> bool:
    """Whether every number is a day of the calendar written as one."""
    for day in np.unique(numbers).tolist():
        try:
            dt.date(day // 10_000, day // 100 % 100, day % 100)
        except ValueError:
            return False
    return True
