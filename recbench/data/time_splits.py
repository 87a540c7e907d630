"""Ways to divide sequences of events in time: each user's last events, or all users at one moment."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recbench.core.errors import BadConfig, nearest
from recbench.core.interactions import UNKNOWN_TIME, Interactions, TimeKind
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.data.dataset import Dataset
from recbench.data.parts import Parts, SplitPart

_MIN_EVENTS = 3
_NEVER = int(np.iinfo(np.int64).max)
"""Time of events that nobody can place: they lie before no cut, and in no part."""
_ROLLING = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Quantiles of all times at which `rolling` cuts; the first only begins a validation part."""


def leave_one_out(dataset: Dataset, options: Mapping[str, Any]) -> Parts:  # noqa: ARG001 (it has none)
    events = dataset.interactions
    lengths = events.lengths
    user = np.flatnonzero(lengths >= _MIN_EVENTS)
    train = _prefixes(events, np.arange(len(events)), np.where(lengths >= _MIN_EVENTS, lengths - 2, lengths))
    valid = _one_target(events, user, lengths[user] - 2)
    test = _one_target(events, user, lengths[user] - 1)
    return Parts(train, valid, test, {"users with fewer than 3 events, train only": int(len(events) - len(user))})


def temporal(dataset: Dataset, options: Mapping[str, Any]) -> Parts:
    events = dataset.interactions
    quantile = float(options["quantile"])
    times = _global_times(events)
    test_cut = _cut_time(times[times < _NEVER], quantile)
    return _between(events, times, _cut_time(times[times < test_cut], quantile), test_cut, _NEVER, str(options["targets"]))


def rolling(dataset: Dataset, options: Mapping[str, Any]) -> Parts:
    """As `temporal`, at one of four cuts: events up to the next cut are asked for, those since the one before are for validation."""
    events = dataset.interactions
    times = _global_times(events)
    known = times[times < _NEVER]
    valid_cut, test_cut, *after = (_cut_time(known, quantile) for quantile in _ROLLING[options["cut"] : options["cut"] + 3])
    return _between(events, times, valid_cut, test_cut, after[0] if after else _NEVER, str(options["targets"]))


def _between(events: Interactions, times: LongArray, valid_cut: int, test_cut: int, end: int, targets: str) -> Parts:
    """Train before `valid_cut`, validation before `test_cut`, test before `end`."""
    rows = np.arange(len(events))
    n_before_valid, n_before_test, n_before_end = (_counts_before(events, times, cut) for cut in (valid_cut, test_cut, end))
    before_end, before_test, train = (_prefixes(events, rows, n) for n in (n_before_end, n_before_test, n_before_valid))
    part = _TEMPORAL_TARGETS[targets]
    valid, valid_skipped = part(before_test, n_before_valid)
    test, test_skipped = part(before_end, n_before_test)
    first_seen = np.bincount(train.item, minlength=events.n_items) == 0
    notes: dict[str, float | str] = {
        "test cut, seconds since 1970": int(test_cut),
        "validation cut, seconds since 1970": int(valid_cut),
        "validation targets without a history, left out": valid_skipped,
        "test targets without a history, left out": test_skipped,
        "test targets never seen in train": int(np.count_nonzero(first_seen[test.targets.item])),
    }
    if end != _NEVER:
        notes["events behind the test part, in no part"] = int(np.count_nonzero((times >= end) & (times < _NEVER)))
    if events.time is not TimeKind.SECONDS and events.unix_time is not None:
        is_never = times == _NEVER
        notes["events of users without any time, in no part"] = int(np.count_nonzero(is_never))
        notes["events without a time, placed with the one before"] = int(np.count_nonzero((events.unix_time == UNKNOWN_TIME) & ~is_never))
    return Parts(train, valid, test, notes)


def _global_times(events: Interactions) -> LongArray:
    """Seconds since 1970 of every event, never falling within a user.

    Where a source numbers the events and tells seconds beside that, the numbers order them: an event counts as no earlier than the one
    before it, and one without a time as happening with it; at the beginning with the first that has one. Events of a user without any
    time happen at `_NEVER`.
    """
    if events.time is TimeKind.SECONDS or events.unix_time is None:
        return events.timestamp
    is_known = events.unix_time != UNKNOWN_TIME
    low = int(events.unix_time[is_known].min(initial=0))
    known = np.where(is_known, events.unix_time, low)
    span = int(known.max(initial=0)) - low + 1
    user = events.row_of_entry()
    # One running maximum over all events: each user is lifted above those before.
    times = np.maximum.accumulate(known - low + user * span) - user * span + low
    n_known = np.concatenate([[0], np.cumsum(is_known)])
    leads = n_known[1:] == n_known[events.offsets[user]]
    first_known = np.full(len(events), _NEVER)
    at_first = np.flatnonzero(is_known & (n_known[:-1] == n_known[events.offsets[user]]))
    first_known[user[at_first]] = known[at_first]
    return np.where(leads, first_known[user], times)


def _cut_time(times: LongArray, quantile: float) -> int:
    """The time of the first event, in time order, that has at least the share `quantile` of all events in front of it.

    An element, never interpolated; where that share is all events, the last one.
    """
    if not len(times):
        return 0
    place = min(int(np.ceil(quantile * len(times))), len(times) - 1)
    return int(np.partition(times, place)[place])


def _counts_before(events: Interactions, times: LongArray, cut: int) -> LongArray:
    """How many events of each user lie before the cut; being sorted, they are the first ones."""
    return np.bincount(events.row_of_entry()[times < cut], minlength=len(events)).astype(np.int64)


def _prefixes(events: Interactions, rows: LongArray, lengths: LongArray) -> Interactions:
    """The first `lengths` events of users `rows`."""
    return events.at(*_prefix_index(events, rows, lengths))


def _prefix_index(events: Interactions, rows: LongArray, lengths: LongArray) -> tuple[LongArray, LongArray]:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    index = np.arange(offsets[-1], dtype=np.int64) + np.repeat(events.offsets[rows] - offsets[:-1], lengths)
    return index, offsets


def _one_target(events: Interactions, user: LongArray, place: LongArray) -> SplitPart:
    """Queries of users (repeats allowed) for the event at `place` in their list, all before it being the history."""
    at = events.offsets[user] + place
    return one_target(events, user, place, events.item[at], events.timestamp[at])


def one_target(events: Interactions, user: LongArray, n_history: LongArray, item: IntArray, time: LongArray) -> SplitPart:
    """Queries of users (repeats allowed) for one item each, which came at a time, behind so many of their events."""
    targets = Targets(np.ascontiguousarray(item), np.arange(len(user) + 1, dtype=np.int64))
    return _part(events, user, n_history, targets, time)


def _part(events: Interactions, user: LongArray, n_history: LongArray, targets: Targets, next_time: LongArray) -> SplitPart:
    index, offsets = _prefix_index(events, user, n_history)
    last_time = events.timestamp[events.offsets[user] + n_history - 1]
    return SplitPart(
        user.astype(np.int32),
        Histories(events.item[index], offsets),
        targets,
        None if events.seconds is None else events.seconds[index],
        next_time == last_time if events.time is TimeKind.SECONDS else None,
    )


def _last(events: Interactions, n_before: LongArray) -> tuple[SplitPart, int]:
    asked = events.lengths > n_before
    user = np.flatnonzero(asked & (events.lengths > 1))
    return _one_target(events, user, events.lengths[user] - 1), int(asked.sum()) - len(user)


def _successive(events: Interactions, n_before: LongArray) -> tuple[SplitPart, int]:
    place = np.arange(len(events.item), dtype=np.int64) - np.repeat(events.offsets[:-1], events.lengths)
    user = events.row_of_entry()
    asked = place >= n_before[user]
    chosen = asked & (place > 0)
    return _one_target(events, user[chosen], place[chosen]), int(asked.sum() - chosen.sum())


def _all(events: Interactions, n_before: LongArray) -> tuple[SplitPart, int]:
    asked = events.lengths > n_before
    user = np.flatnonzero(asked & (n_before > 0))
    n_targets = events.lengths[user] - n_before[user]
    shifted = np.zeros(len(user) + 1, dtype=np.int64)
    np.cumsum(n_targets, out=shifted[1:])
    index = np.arange(shifted[-1], dtype=np.int64) + np.repeat(events.offsets[user] + n_before[user] - shifted[:-1], n_targets)
    targets = _sets(np.repeat(np.arange(len(user)), n_targets), events.item[index], len(user), events.n_items)
    next_time = events.timestamp[events.offsets[user] + n_before[user]]
    return _part(events, user, n_before[user], targets, next_time), int(asked.sum()) - len(user)


def _sets(row: LongArray, item: IntArray, n_rows: int, n_items: int) -> Targets:
    """Sets of items by row, sorted, each item once."""
    pair = np.unique(row * n_items + item)
    offsets = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(pair // n_items, minlength=n_rows), out=offsets[1:])
    return Targets((pair % n_items).astype(np.int32), offsets)


_TEMPORAL_TARGETS: dict[str, Callable[[Interactions, LongArray], tuple[SplitPart, int]]] = {
    "last": _last,
    "successive": _successive,
    "all": _all,
}


def check_rolling(options: Mapping[str, Any]) -> None:
    if options["cut"] > len(_ROLLING) - 2:
        raise BadConfig(f"--protocol rolling: cut={options['cut']} is none of 0 to {len(_ROLLING) - 2}. Write for example rolling:cut=0")
    _check_targets("rolling", options["targets"])


def check_temporal(options: Mapping[str, Any]) -> None:
    quantile = options["quantile"]
    if not isinstance(quantile, float) or not 0 < quantile < 1:
        raise BadConfig(f"--protocol temporal: quantile={quantile} is not between 0 and 1. Write for example temporal:quantile=0.9")
    _check_targets("temporal", options["targets"])


def _check_targets(protocol: str, targets: object) -> None:
    if targets not in _TEMPORAL_TARGETS:
        known = f"{nearest(str(targets), _TEMPORAL_TARGETS)} Known: {', '.join(_TEMPORAL_TARGETS)}."
        raise BadConfig(f"--protocol {protocol}: targets={targets!r} is not known.{known}")
