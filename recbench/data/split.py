"""Which events a model may learn from, and which it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData, BadRequest
from recbench.core.features import Features
from recbench.core.interactions import Interactions, ItemTable, StringArray, TimeKind
from recbench.core.ragged import Histories
from recbench.core.records import Fingerprints
from recbench.data.arrays import open_json, open_strings, save_json, save_strings
from recbench.data.dataset import WITHIN_A_SECOND, Dataset, Notes, open_interactions, open_items, save_interactions, save_items
from recbench.data.fingerprints import TripleHasher, text_digest
from recbench.data.id_hashes import id_hashes
from recbench.data.parts import SplitPart
from recbench.data.protocol import NOT_DRAWN, SplitProtocol
from recbench.data.side import feature_digests, feedback_digest, open_features, open_lists, save_features, save_lists


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
    if not len(train.item):
        raise BadData(f"{dataset.card.name}: {protocol} leaves nothing to train on. {protocol.rule.needs}")
    if dataset.notes.get(WITHIN_A_SECOND, 0):
        # Equal seconds are no ties then, and what is finer is not kept.
        valid, test = (replace(part, is_tied=None) for part in (valid, test))
    if protocol.n_asked is not None:
        n_users = len(np.unique(test.user))
        valid, test = (_of_fewer(part, protocol.n_asked, dataset.user_ids) for part in (valid, test))
        notes = {**notes, "test users drawn": len(np.unique(test.user)), NOT_DRAWN: n_users - len(np.unique(test.user))}
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
    key = id_hashes(user_ids, f"{seed}/user")[user] ^ id_hashes(item_ids, f"{seed}/item")[events.item]
    order = np.lexsort((_mixed(key ^ events.timestamp.astype(np.uint64)), events.timestamp, user))
    return Interactions(events.item[order], events.offsets, events.timestamp, events.n_items, events.time)


def _of_fewer(part: SplitPart, n_asked: int, user_ids: StringArray) -> SplitPart:
    """The queries of `n_asked` users, drawn by their ids alone: of whatever part, those with the smallest hash."""
    users = np.unique(part.user)
    if len(users) <= n_asked:
        return part
    drawn = users[np.argpartition(id_hashes(user_ids[users], "asked"), n_asked)[:n_asked]]
    return part.take(np.flatnonzero(np.isin(part.user, drawn)))


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
    if protocol.rule.needs_seconds is not None and dataset.interactions.unix_time is None:
        raise BadRequest(f"{dataset.card.name} has {what}, so {protocol.rule.needs_seconds}")
    if protocol.tie_seed() is not None:
        raise BadRequest(f"{dataset.card.name} has {what}, so ties are unknown and cannot be shuffled. Use --ties source.")
