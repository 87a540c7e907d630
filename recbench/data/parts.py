"""The parts that a data set is divided into."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbench.core.interactions import Interactions, StringArray
from recbench.core.ragged import Histories, IntArray, LongArray, Targets, flat_index
from recbench.core.ranking import VIEWS, Queries, View
from recbench.data.arrays import open_array, open_json, save_array, save_json
from recbench.data.dataset import Notes


class Parts(NamedTuple):
    """Train part, validation and test queries, things counted while dividing, and the feedback that models may see."""

    train: Interactions
    valid: "SplitPart"
    test: "SplitPart"
    notes: Notes
    feedback: Histories | None = None


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

    def take(self, rows: LongArray) -> "SplitPart":
        """The queries `rows`, in that order, with their answers."""
        index, _ = flat_index(self.histories.offsets, rows)
        return SplitPart(
            self.user[rows],
            self.histories.take(rows),
            self.targets.take(rows),
            None if self.timestamp is None else self.timestamp[index],
            None if self.is_tied is None else self.is_tied[rows],
            None if self.cluster is None else self.cluster[rows],
            self.is_of_strangers,
        )

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
