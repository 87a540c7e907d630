"""Which events a model may learn from, and which it is asked for."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadConfig, BadData, BadRequest, nearest
from recbench.core.features import Features
from recbench.core.interactions import Interactions, ItemTable, StringArray, TimeKind
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.core.ranking import VIEWS, Queries, View
from recbench.core.records import Fingerprints
from recbench.data.arrays import open_array, open_json, open_strings, save_array, save_json, save_strings
from recbench.data.dataset import WITHIN_A_SECOND, Dataset, Notes, open_interactions, open_items, save_interactions, save_items
from recbench.data.fingerprints import TripleHasher, text_digest
from recbench.data.side import feature_digests, feedback_digest, open_features, open_lists, save_features, save_lists


class Parts(NamedTuple):
    """Train part, validation and test queries, things counted while dividing, and the feedback that models may see."""

    train: Interactions
    valid: "SplitPart"
    test: "SplitPart"
    notes: Notes
    feedback: Histories | None = None


@dataclass(frozen=True)
class SplitRule:
    """A way to divide events, as a task offers it.

    Attributes:
        name: what it is called in `--protocol`.
        cut: divides a data set; the options are those of `defaults`, with what the user says.
        needs: sizes that users need, as a sentence for data where nobody is left to be asked.
        defaults: options and their values where nobody says. One whose default is a whole number takes whole numbers alone.
        check: raises a `BadConfig` for options that are impossible.
        seed_option: option that draws another split; boards sum up over its values. None: there is one split.
        needs_seconds: what is missing where times are not seconds and what to use, as the end of a sentence; None: any times will do.
    """

    name: str
    cut: Callable[[Dataset, Mapping[str, Any]], Parts]
    needs: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], None] = lambda options: None  # noqa: ARG005 (most rules take any value)
    seed_option: str | None = None
    needs_seconds: str | None = None


@dataclass(frozen=True)
class SplitProtocol:
    """How events are divided.

    Attributes:
        rule: the way to divide them.
        options: of the rule; those that are not named have its defaults.
        ties: `source` keeps the order of events of equal user and time; `shuffle=SEED` shuffles them.
    """

    rule: SplitRule
    options: Mapping[str, Any] = field(default_factory=dict)
    ties: str = "source"

    def __post_init__(self) -> None:
        known = self.rule.defaults
        for key in self.options:
            if key not in known:
                raise BadConfig(
                    f"The protocol {self.name!r} has no option {key!r}.{nearest(key, known)} Known: {', '.join(known) or 'none'}."
                )
        # One spelling per protocol: a board would take seed=0 and seed=0.0 for two.
        given = {key: self._whole(key, value) if isinstance(known[key], int) else value for key, value in self.options.items()}
        object.__setattr__(self, "options", {**known, **given})
        seed = self.tie_seed()
        # One spelling per order of ties: a board would take shuffle=01 and shuffle=1 for two protocols.
        object.__setattr__(self, "ties", "source" if seed is None else f"shuffle={seed}")
        self.rule.check(self.options)

    @classmethod
    def parse(cls, text: str, rules: Mapping[str, SplitRule], ties: str = "source") -> "SplitProtocol":
        """One of some rules by name, with options, such as `temporal:quantile=0.8,targets=all`."""
        name, _, rest = text.partition(":")
        name = name.strip()
        if name not in rules:
            raise BadConfig(f"--protocol {name!r} is not known.{nearest(name, rules)} Known: {', '.join(rules)}.")
        options: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            key, equals, value = part.partition("=")
            if not equals:
                raise BadConfig(f"--protocol {text!r}: {part!r} is not of the form key=value. Write for example {name}:key=0.9")
            try:
                options[key.strip()] = float(value)
            except ValueError:
                options[key.strip()] = value.strip()
        return cls(rules[name], options, ties)

    def _whole(self, key: str, value: Any) -> int:
        if not isinstance(value, int | float) or not math.isfinite(value) or value != int(value) or value < 0:
            raise BadConfig(f"--protocol {self.name}: {key}={value} is no whole number from 0. Write for example {self.name}:{key}=0")
        return int(value)

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.rule.name

    def identity(self) -> dict[str, Any]:
        """Name, options and order of ties: equal for equal splits."""
        return {"name": self.name, "options": dict(self.options), "ties": self.ties}

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
        timestamp: (nnz of histories,) int64 seconds since 1970, `UNKNOWN_TIME` where one is not known; None where none is.
        is_tied: (B,) bool, whether a target has the time stamp of the last event of the history; None where times are not seconds,
            or are finer than these; real times beside positions do not count, as they order nothing.
        cluster: (B,) int32, equal for queries that are not independent of each other and are resampled together; None where all are.
        is_of_strangers: whether models are not told whose query it is: `user` then numbers the queries for the harness alone.
    """

    user: IntArray
    histories: Histories
    targets: Targets
    timestamp: LongArray | None
    is_tied: NDArray[np.bool_] | None
    cluster: IntArray | None = None
    is_of_strangers: bool = False

    def __len__(self) -> int:
        return len(self.user)

    def queries(self, user_ids: StringArray, views: tuple[View, ...] = VIEWS) -> Queries:
        """The questions alone."""
        user = np.full(len(self.user), -1, dtype=np.int32) if self.is_of_strangers else self.user
        return Queries(self.histories, user, user_ids[self.user], views, self.timestamp)

    def save(self, folder: Path, name: str) -> None:
        """Write under a name."""
        save_array(folder, f"{name}.user", self.user)
        save_array(folder, f"{name}.history", self.histories.item)
        save_array(folder, f"{name}.history_offsets", self.histories.offsets)
        save_array(folder, f"{name}.target", self.targets.item)
        save_array(folder, f"{name}.target_offsets", self.targets.offsets)
        about = {
            "has_timestamp": self.timestamp is not None,
            "has_ties": self.is_tied is not None,
            "has_clusters": self.cluster is not None,
            "is_of_strangers": self.is_of_strangers,
        }
        save_json(folder, name, about)
        if self.timestamp is not None:
            save_array(folder, f"{name}.timestamp", self.timestamp)
        if self.is_tied is not None:
            save_array(folder, f"{name}.is_tied", self.is_tied)
        if self.cluster is not None:
            save_array(folder, f"{name}.cluster", self.cluster)

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
            open_array(folder, f"{name}.cluster") if about["has_clusters"] else None,
            bool(about["is_of_strangers"]),
        )


@dataclass(frozen=True, eq=False)
class Split:
    """A data set, divided.

    Attributes:
        protocol: how, as it is written in `--protocol`.
        train: what models learn from; every user has a row, if only an empty one.
        valid, test: what they are asked.
        items: the catalogue.
        user_ids: (n_users,) the source's ids.
        fingerprints: of the three parts and of the item texts.
        n_users_train_only: users without a test query.
        notes: things counted while splitting.
        feedback: row p lists the items that person p used, without what would tell the answers; None where the data have none.
        features: vectors of items by name.
    """

    protocol: str
    train: Interactions
    valid: SplitPart
    test: SplitPart
    items: ItemTable
    user_ids: StringArray
    fingerprints: Fingerprints
    n_users_train_only: int
    notes: Notes = field(default_factory=dict)
    feedback: Histories | None = None
    features: Mapping[str, Features] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write all of it into an existing or new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "protocol": self.protocol,
            "fingerprints": self.fingerprints.model_dump(),
            "n_users_train_only": self.n_users_train_only,
            "notes": dict(self.notes),
            "has_feedback": self.feedback is not None,
            "features": list(self.features),
        }
        save_json(folder, "split", about)
        save_interactions(folder, "train", self.train)
        self.valid.save(folder, "valid")
        self.test.save(folder, "test")
        save_items(folder, self.items)
        save_strings(folder, "user_ids", self.user_ids)
        save_lists(folder, "feedback", self.feedback)
        save_features(folder, self.features)

    @classmethod
    def open(cls, folder: Path) -> "Split":
        """Open the folder that `save` wrote, memory-mapped; a damaged folder is a `BadData`."""
        about = open_json(folder, "split")
        return cls(
            str(about["protocol"]),
            open_interactions(folder, "train"),
            SplitPart.open(folder, "valid"),
            SplitPart.open(folder, "test"),
            open_items(folder),
            open_strings(folder, "user_ids"),
            Fingerprints.model_validate(about["fingerprints"]),
            int(about["n_users_train_only"]),
            about["notes"],
            open_lists(folder, "feedback") if about["has_feedback"] else None,
            open_features(folder, about["features"]),
        )


def make_split(dataset: Dataset, protocol: SplitProtocol) -> Split:
    """Divide a data set.

    Raises:
        BadRequest: the protocol needs times in seconds and the data set has none.
        BadData: nobody is left to be asked.
    """
    _refuse_without_seconds(dataset, protocol)
    seed = protocol.tie_seed()
    if seed is not None:
        shuffled = shuffle_ties(dataset.interactions, seed, dataset.user_ids, dataset.items.item_ids)
        dataset = replace(dataset, interactions=shuffled)
    train, valid, test, notes, feedback = protocol.rule.cut(dataset, protocol.options)
    if not len(test) or not len(valid):
        raise BadData(f"{dataset.card.name}: {protocol} leaves {len(valid)} validation and {len(test)} test queries. {protocol.rule.needs}")
    if dataset.notes.get(WITHIN_A_SECOND, 0):
        # Equal seconds are no ties then, and what is finer is not kept.
        valid, test = (replace(part, is_tied=None) for part in (valid, test))
    features = {} if dataset.side is None else dataset.side.features
    hasher = TripleHasher(dataset.user_ids, dataset.items.item_ids)
    fingerprints = Fingerprints(
        train=hasher.digest(np.arange(len(train)), train),
        valid=hasher.digest(valid.user, valid.histories, valid.targets),
        test=hasher.digest(test.user, test.histories, test.targets),
        item_text=text_digest(dataset.items),
        feedback=None if feedback is None else feedback_digest(feedback),
        features=feature_digests(features),
    )
    n_train_only = len(train) - len(np.unique(test.user))
    return Split(str(protocol), train, valid, test, dataset.items, dataset.user_ids, fingerprints, n_train_only, notes, feedback, features)


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
    if protocol.rule.needs_seconds is not None:
        raise BadRequest(f"{dataset.card.name} has {what}, so {protocol.rule.needs_seconds}")
    if protocol.tie_seed() is not None:
        raise BadRequest(f"{dataset.card.name} has {what}, so ties are unknown and cannot be shuffled. Use --ties source.")
