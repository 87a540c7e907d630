"""Which events a model may learn from, and which it is asked for."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadConfig, BadData, BadRequest, nearest
from recbench.core.interactions import Interactions, ItemTable, StringArray, TimeKind
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.core.ranking import VIEWS, Queries, View
from recbench.core.records import Fingerprints
from recbench.data.arrays import open_array, open_json, open_strings, save_array, save_json, save_strings
from recbench.data.dataset import WITHIN_A_SECOND, Dataset, Notes, open_interactions, open_items, save_interactions, save_items
from recbench.data.fingerprints import TripleHasher, text_digest

_MIN_EVENTS = 3
_DEFAULTS: dict[str, dict[str, Any]] = {"leave-one-out": {}, "temporal": {"quantile": 0.9, "targets": "last"}}
_TARGETS = ("last", "successive", "all")


@dataclass(frozen=True)
class SplitProtocol:
    """How events are divided.

    Attributes:
        name: `leave-one-out` or `temporal`.
        options: of `temporal`: `quantile` (the global cut lies there among all event times) and `targets`: `last` (each
            user's last event after the cut), `successive` (each event after the cut, one query each) or `all` (the set of them).
        ties: `source` keeps the order of events of equal user and time; `shuffle=SEED` shuffles them.
    """

    name: str = "leave-one-out"
    options: Mapping[str, Any] = field(default_factory=dict)
    ties: str = "source"

    def __post_init__(self) -> None:
        if self.name not in _DEFAULTS:
            raise BadConfig(f"--protocol {self.name!r} is not known.{nearest(self.name, _DEFAULTS)} Known: {', '.join(_DEFAULTS)}.")
        known = _DEFAULTS[self.name]
        for key in self.options:
            if key not in known:
                raise BadConfig(
                    f"The protocol {self.name!r} has no option {key!r}.{nearest(key, known)} Known: {', '.join(known) or 'none'}."
                )
        object.__setattr__(self, "options", {**known, **self.options})
        seed = self.tie_seed()
        # One spelling per order of ties: a board would take shuffle=01 and shuffle=1 for two protocols.
        object.__setattr__(self, "ties", "source" if seed is None else f"shuffle={seed}")
        if self.name == "temporal":
            quantile, targets = self.options["quantile"], self.options["targets"]
            if not isinstance(quantile, float) or not 0 < quantile < 1:
                raise BadConfig(f"--protocol temporal: quantile={quantile} is not between 0 and 1. Write for example temporal:quantile=0.9")
            if targets not in _TARGETS:
                raise BadConfig(
                    f"--protocol temporal: targets={targets!r} is not known.{nearest(str(targets), _TARGETS)} Known: {', '.join(_TARGETS)}."
                )

    @classmethod
    def parse(cls, text: str, ties: str = "source") -> "SplitProtocol":
        """From `leave-one-out`, `temporal` or `temporal:quantile=0.8,targets=all`."""
        name, _, rest = text.partition(":")
        options: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            key, equals, value = part.partition("=")
            if not equals:
                raise BadConfig(f"--protocol {text!r}: {part!r} is not of the form key=value. Write for example temporal:quantile=0.9")
            try:
                options[key.strip()] = float(value)
            except ValueError:
                options[key.strip()] = value.strip()
        return cls(name.strip(), options, ties)

    def __str__(self) -> str:
        return self.name + (":" + ",".join(f"{key}={value}" for key, value in self.options.items()) if self.options else "")

    def tie_seed(self) -> int | None:
        """Seed of the shuffle of ties; None where they stay as they are."""
        if self.ties == "source":
            return None
        word, _, seed = self.ties.partition("=")
        if word != "shuffle" or not seed.isdecimal():
            raise BadConfig(f"--ties {self.ties!r} is not understood. Write source or shuffle=SEED, such as shuffle=1.")
        return int(seed)


@dataclass(frozen=True, eq=False)
class SplitPart:
    """Queries with their answers: validation or test.

    Attributes:
        user: (B,) int32 user rows.
        histories: what the model is shown, oldest first.
        targets: what it is asked for; sets are sorted.
        timestamp: (nnz of histories,) int64 seconds since 1970; None where times are not seconds.
        is_tied: (B,) bool, whether a target has the time stamp of the last event of the history; None where times are not seconds,
            or are finer than these.
    """

    user: IntArray
    histories: Histories
    targets: Targets
    timestamp: LongArray | None
    is_tied: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.user)

    def queries(self, user_ids: StringArray, views: tuple[View, ...] = VIEWS) -> Queries:
        """The questions alone."""
        return Queries(self.histories, self.user, user_ids[self.user], views, self.timestamp)

    def save(self, folder: Path, name: str) -> None:
        """Write under a name."""
        save_array(folder, f"{name}.user", self.user)
        save_array(folder, f"{name}.history", self.histories.item)
        save_array(folder, f"{name}.history_offsets", self.histories.offsets)
        save_array(folder, f"{name}.target", self.targets.item)
        save_array(folder, f"{name}.target_offsets", self.targets.offsets)
        save_json(folder, name, {"has_timestamp": self.timestamp is not None, "has_ties": self.is_tied is not None})
        if self.timestamp is not None:
            save_array(folder, f"{name}.timestamp", self.timestamp)
        if self.is_tied is not None:
            save_array(folder, f"{name}.is_tied", self.is_tied)

    @classmethod
    def open(cls, folder: Path, name: str) -> "SplitPart":
        """Open the folder that `save` wrote, memory-mapped."""
        about = open_json(folder, name)
        return cls(
            open_array(folder, f"{name}.user"),
            Histories(open_array(folder, f"{name}.history"), open_array(folder, f"{name}.history_offsets")),
            Targets(open_array(folder, f"{name}.target"), open_array(folder, f"{name}.target_offsets")),
            open_array(folder, f"{name}.timestamp") if about["has_timestamp"] else None,
            open_array(folder, f"{name}.is_tied") if about["has_ties"] else None,
        )


@dataclass(frozen=True, eq=False)
class Split:
    """A data set, divided.

    Attributes:
        protocol: how.
        train: what models learn from; every user has a row, if only an empty one.
        valid, test: what they are asked.
        items: the catalogue.
        user_ids: (n_users,) the source's ids.
        fingerprints: of the three parts and of the item texts.
        n_users_train_only: users without a test query.
        notes: things counted while splitting.
    """

    protocol: SplitProtocol
    train: Interactions
    valid: SplitPart
    test: SplitPart
    items: ItemTable
    user_ids: StringArray
    fingerprints: Fingerprints
    n_users_train_only: int
    notes: Notes = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write all of it into an existing or new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "protocol": {"name": self.protocol.name, "options": dict(self.protocol.options), "ties": self.protocol.ties},
            "fingerprints": self.fingerprints.model_dump(),
            "n_users_train_only": self.n_users_train_only,
            "notes": dict(self.notes),
        }
        save_json(folder, "split", about)
        save_interactions(folder, "train", self.train)
        self.valid.save(folder, "valid")
        self.test.save(folder, "test")
        save_items(folder, self.items)
        save_strings(folder, "user_ids", self.user_ids)

    @classmethod
    def open(cls, folder: Path) -> "Split":
        """Open the folder that `save` wrote, memory-mapped; a damaged folder is a `BadData`."""
        about = open_json(folder, "split")
        return cls(
            SplitProtocol(**about["protocol"]),
            open_interactions(folder, "train"),
            SplitPart.open(folder, "valid"),
            SplitPart.open(folder, "test"),
            open_items(folder),
            open_strings(folder, "user_ids"),
            Fingerprints.model_validate(about["fingerprints"]),
            int(about["n_users_train_only"]),
            about["notes"],
        )


def make_split(dataset: Dataset, protocol: SplitProtocol) -> Split:
    """Divide a data set.

    Raises:
        BadRequest: the protocol needs times in seconds and the data set has none.
        BadData: nobody is left to be asked.
    """
    events = dataset.interactions
    _refuse_without_seconds(dataset, protocol)
    seed = protocol.tie_seed()
    if seed is not None:
        events = shuffle_ties(events, seed, dataset.user_ids, dataset.items.item_ids)
    train, valid, test, notes = _PROTOCOLS[protocol.name](events, protocol)
    if not len(test) or not len(valid):
        raise BadData(
            f"{dataset.card.name}: {protocol} leaves {len(valid)} validation and {len(test)} test queries. "
            f"Users need at least {_MIN_EVENTS} events, and a temporal cut events on both sides."
        )
    if dataset.notes.get(WITHIN_A_SECOND, 0):
        # Equal seconds are no ties then, and what is finer is not kept.
        valid, test = (replace(part, is_tied=None) for part in (valid, test))
    hasher = TripleHasher(dataset.user_ids, dataset.items.item_ids)
    fingerprints = Fingerprints(
        train=hasher.digest(np.arange(len(train)), train),
        valid=hasher.digest(valid.user, valid.histories, valid.targets),
        test=hasher.digest(test.user, test.histories, test.targets),
        item_text=text_digest(dataset.items),
    )
    n_train_only = len(train) - len(np.unique(test.user))
    return Split(protocol, train, valid, test, dataset.items, dataset.user_ids, fingerprints, n_train_only, notes)


def shuffle_ties(events: Interactions, seed: int, user_ids: StringArray, item_ids: StringArray) -> Interactions:
    """The events with those of equal user and time in an order drawn from the seed.

    An event's place depends on the seed and on its own user, item and time only, neither on other users nor on the source's order.
    """
    user = events.row_of_entry()
    key = _hashes(user_ids, f"{seed}/user")[user] ^ _hashes(item_ids, f"{seed}/item")[events.item]
    order = np.lexsort((_mixed(key ^ events.timestamp.astype(np.uint64)), events.timestamp, user))
    return Interactions(events.item[order], events.offsets, events.timestamp, events.n_items, events.time)


def _hashes(ids: StringArray, salt: str) -> NDArray[np.uint64]:
    """64 random-looking bits for each id."""
    salted = hashlib.blake2b(salt.encode(), digest_size=8)

    def one(source_id: str) -> bytes:
        hasher = salted.copy()
        hasher.update(b"/" + source_id.encode())
        return hasher.digest()

    return np.frombuffer(b"".join(map(one, ids)), dtype="<u8").astype(np.uint64)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, which spreads every bit of its input over all of its output (Steele et al., OOPSLA 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _refuse_without_seconds(dataset: Dataset, protocol: SplitProtocol) -> None:
    if dataset.interactions.time is TimeKind.SECONDS:
        within = dataset.notes.get(WITHIN_A_SECOND, 0)
        if within and protocol.tie_seed() is not None:
            raise BadRequest(
                f"{dataset.card.name} has times finer than a second, which order {within} events of equal second: they are no ties "
                "to shuffle. Use --ties source."
            )
        return
    what = {TimeKind.POSITION: "only positions in each user's sequence", TimeKind.NONE: "no time stamps"}[dataset.interactions.time]
    if protocol.name == "temporal":
        raise BadRequest(f"{dataset.card.name} has {what}, so there is no global time to cut at. Use --protocol leave-one-out.")
    if protocol.tie_seed() is not None:
        raise BadRequest(f"{dataset.card.name} has {what}, so ties are unknown and cannot be shuffled. Use --ties source.")


def _leave_one_out(events: Interactions, protocol: SplitProtocol) -> tuple[Interactions, SplitPart, SplitPart, Notes]:  # noqa: ARG001
    lengths = events.lengths
    user = np.flatnonzero(lengths >= _MIN_EVENTS)
    train = _prefixes(events, np.arange(len(events)), np.where(lengths >= _MIN_EVENTS, lengths - 2, lengths))
    valid = _one_target(events, user, lengths[user] - 2)
    test = _one_target(events, user, lengths[user] - 1)
    return train, valid, test, {"users with fewer than 3 events, train only": int(len(events) - len(user))}


def _temporal(events: Interactions, protocol: SplitProtocol) -> tuple[Interactions, SplitPart, SplitPart, Notes]:
    quantile, targets = float(protocol.options["quantile"]), str(protocol.options["targets"])
    test_cut = _cut_time(events.timestamp, quantile)
    valid_cut = _cut_time(events.timestamp[events.timestamp < test_cut], quantile)
    rows = np.arange(len(events))
    n_before_test = _counts_before(events, test_cut)
    before_test = _prefixes(events, rows, n_before_test)
    n_before_valid = _counts_before(before_test, valid_cut)
    train = _prefixes(before_test, rows, n_before_valid)
    part = _TEMPORAL_TARGETS[targets]
    valid, valid_skipped = part(before_test, n_before_valid)
    test, test_skipped = part(events, n_before_test)
    first_seen = np.bincount(train.item, minlength=events.n_items) == 0
    notes: Notes = {
        "test cut, seconds since 1970": int(test_cut),
        "validation cut, seconds since 1970": int(valid_cut),
        "validation targets without a history, left out": valid_skipped,
        "test targets without a history, left out": test_skipped,
        "test targets never seen in train": int(np.count_nonzero(first_seen[test.targets.item])),
    }
    return train, valid, test, notes


_PROTOCOLS: dict[str, Callable[[Interactions, SplitProtocol], tuple[Interactions, SplitPart, SplitPart, Notes]]] = {
    "leave-one-out": _leave_one_out,
    "temporal": _temporal,
}


def _cut_time(times: LongArray, quantile: float) -> int:
    """The time of the first event, in time order, that has at least the share `quantile` of all events in front of it.

    An element, never interpolated; where that share is all events, the last one.
    """
    if not len(times):
        return 0
    place = min(int(np.ceil(quantile * len(times))), len(times) - 1)
    return int(np.partition(times, place)[place])


def _counts_before(events: Interactions, cut: int) -> LongArray:
    """How many events of each user lie before the cut; being sorted, they are the first ones."""
    user = events.row_of_entry()
    return np.bincount(user[events.timestamp < cut], minlength=len(events)).astype(np.int64)


def _prefixes(events: Interactions, rows: LongArray, lengths: LongArray) -> Interactions:
    """The first `lengths` events of users `rows`."""
    index, offsets = _prefix_index(events, rows, lengths)
    return Interactions(events.item[index], offsets, events.timestamp[index], events.n_items, events.time)


def _prefix_index(events: Interactions, rows: LongArray, lengths: LongArray) -> tuple[LongArray, LongArray]:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    index = np.arange(offsets[-1], dtype=np.int64) + np.repeat(events.offsets[rows] - offsets[:-1], lengths)
    return index, offsets


def _one_target(events: Interactions, user: LongArray, place: LongArray) -> SplitPart:
    """Queries of users (repeats allowed) for the event at `place` in their list, all before it being the history."""
    at = events.offsets[user] + place
    targets = Targets(np.ascontiguousarray(events.item[at]), np.arange(len(user) + 1, dtype=np.int64))
    return _part(events, user, place, targets, events.timestamp[at])


def _part(events: Interactions, user: LongArray, n_history: LongArray, targets: Targets, next_time: LongArray) -> SplitPart:
    index, offsets = _prefix_index(events, user, n_history)
    last_time = events.timestamp[events.offsets[user] + n_history - 1]
    return SplitPart(
        user.astype(np.int32),
        Histories(events.item[index], offsets),
        targets,
        events.timestamp[index] if events.time is TimeKind.SECONDS else None,
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
