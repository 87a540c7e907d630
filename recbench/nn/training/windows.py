"""The train part as windows that no model needs to cut off, and batches of windows, of like length or in random order."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recbench.core import Interactions
from recbench.core.ragged import IntArray, LongArray

# W windows, B windows of one batch, T columns

BatchUnit = Literal["sequences", "targets"]
"""What the size of a batch counts."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Stretches of users' train parts. Every event but a user's first is the target of exactly one window.

    A user with at most `max_length` events before the last one is one window. Longer ones are cut from the newest end backwards, half a
    length at a time: each window is full, its older half is only read, its newer half is trained. So a target has all that precedes it as
    context, or at least half a length.

    Attributes:
        item: (nnz,) int32 events of all users.
        start: (W,) int64, where each window begins in `item`.
        length: (W,) int64, how many items it reads; it needs one more event, the last target.
        first_trained: (W,) int64, the first of its slots whose target counts.
        user: (W,) int64.
    """

    item: IntArray
    start: LongArray
    length: LongArray
    first_trained: LongArray
    user: LongArray

    @classmethod
    def of(cls, train: Interactions, max_length: int) -> "Windows":
        """All windows of the train part, user by user, oldest first; users with fewer than two events have none."""
        stride = max_length // 2
        n_inputs_U = np.maximum(train.lengths - 1, 0)
        n_more_U = np.maximum(-(-(n_inputs_U - max_length) // stride), 0)
        n_windows_U = np.where(n_inputs_U > 0, 1 + n_more_U, 0)
        user = np.repeat(np.arange(train.n_users, dtype=np.int64), n_windows_U)
        nth = np.arange(len(user), dtype=np.int64) - np.repeat(np.cumsum(n_windows_U) - n_windows_U, n_windows_U)
        # Counted back from the newest end, so that only a user's first window may be short.
        end = n_inputs_U[user] - (n_more_U[user] - nth) * stride
        begin = np.maximum(end - max_length, 0)
        first_trained = np.where(nth == 0, 0, end - stride - begin)
        return cls(train.item, train.offsets[user] + begin, end - begin, first_trained, user)

    @classmethod
    def newest(cls, train: Interactions, max_length: int) -> "Windows":
        """One window per user: the newest `max_length` inputs, all of whose slots are trained. Older events of longer users are dropped."""
        n_inputs_U = np.maximum(train.lengths - 1, 0)
        user = np.flatnonzero(n_inputs_U).astype(np.int64)
        length = np.minimum(n_inputs_U[user], max_length).astype(np.int64)
        return cls(train.item, train.offsets[user] + n_inputs_U[user] - length, length, np.zeros(len(user), np.int64), user)

    @classmethod
    def prefixes(cls, train: Interactions, max_length: int) -> "Windows":
        """One window per (prefix, next item) of the train part, cut to its newest `max_length` items; only its last slot is trained."""
        n_prefixes_U = np.maximum(train.lengths - 1, 0)
        user = np.repeat(np.arange(train.n_users, dtype=np.int64), n_prefixes_U)
        end = np.arange(len(user), dtype=np.int64) - np.repeat(np.cumsum(n_prefixes_U) - n_prefixes_U, n_prefixes_U) + 1
        length = np.minimum(end, max_length)
        return cls(train.item, train.offsets[user] + end - length, length, length - 1, user)

    def drawn(self, per_user: int | None, generator: np.random.Generator) -> LongArray:
        """Numbers of all windows, ascending, or of at most `per_user` of each user, drawn without repeats."""
        if per_user is None:
            return np.arange(len(self), dtype=np.int64)
        order = np.lexsort((generator.random(len(self)), self.user))
        user = self.user[order]
        first = np.searchsorted(user, user, side="left")
        return np.sort(order[np.arange(len(order)) - first < per_user])

    def __len__(self) -> int:
        return len(self.start)

    @property
    def n_targets(self) -> LongArray:
        """How many targets each window trains, (W,) int64."""
        return self.length - self.first_trained

    def batches(self, *, bucketed: bool, size: int, unit: BatchUnit, generator: np.random.Generator) -> list[LongArray]:
        """Every window once, as arrays of window numbers.

        Args:
            bucketed: windows of like length meet, which saves padding; batches of so many sequences then give every user the same weight
                instead of every target. False: any windows meet.
            size, unit, generator: as for `length_bucketed`.
        """
        if bucketed:
            return length_bucketed(self.n_targets, self.length, size=size, unit=unit, generator=generator)
        return in_random_order(self.n_targets, size=size, unit=unit, generator=generator)

    def of_like_length(self, rows: LongArray) -> list[LongArray]:
        """Windows `rows` in groups, shortest first, in none of which one is more than twice as long as another.

        What a batch in random order computes for padding is many times what it computes for items; group by group it is less than once.
        """
        return [rows[group] for group in groups_of_like_length(self.length[rows])]

    def padded(self, rows: LongArray, fill: int) -> tuple[LongArray, LongArray]:
        """Inputs and targets of windows `rows`, each (B, T) int64; inputs end with `fill`, slots that are not trained have target -1."""
        column_T = np.arange(int(self.length[rows].max(initial=0)))
        length_B1 = self.length[rows, None]
        is_read_BT = column_T < length_B1
        place_BT = np.where(is_read_BT, self.start[rows, None] + column_T, 0)
        item_BT = np.where(is_read_BT, self.item[place_BT], fill).astype(np.int64)
        is_trained_BT = is_read_BT & (column_T >= self.first_trained[rows, None])
        target_BT = np.where(is_trained_BT, self.item[place_BT + is_read_BT], -1).astype(np.int64)
        return item_BT, target_BT

    def trained(self, rows: LongArray) -> tuple[LongArray, LongArray]:
        """Targets of windows `rows` and the slots they follow, each (B, most targets of a window) int64; -1 and 0 where there is none."""
        n_targets_B1 = self.n_targets[rows, None]
        column_C = np.arange(int(n_targets_B1.max(initial=0)))
        is_there_BC = column_C < n_targets_B1
        slot_BC = np.where(is_there_BC, self.first_trained[rows, None] + column_C, 0)
        target_BC = np.where(is_there_BC, self.item[self.start[rows, None] + slot_BC + is_there_BC], -1).astype(np.int64)
        return target_BC, slot_BC


def length_bucketed(
    n_targets: LongArray, length: LongArray, *, size: int, unit: BatchUnit, generator: np.random.Generator
) -> list[LongArray]:
    """Every window once, in batches of like length: which windows meet, and the order of the batches, come from the generator.

    Args:
        n_targets: (W,) of each window.
        length: (W,) of each window.
        size: most windows, or most targets, of a batch; one window at least is in it.
        unit: `sequences` or `targets`.
        generator: of the epoch.

    Returns:
        Arrays of window numbers.
    """
    shuffled = generator.permutation(len(length))
    batches = _cut(shuffled[np.argsort(length[shuffled], kind="stable")], n_targets, size, unit)
    return [batches[row] for row in generator.permutation(len(batches))]


def in_random_order(n_targets: LongArray, *, size: int, unit: BatchUnit, generator: np.random.Generator) -> list[LongArray]:
    """Every window once, in batches of any lengths. Arguments and result are those of `length_bucketed`."""
    return _cut(generator.permutation(len(n_targets)), n_targets, size, unit)


def groups_of_like_length(length: LongArray) -> list[LongArray]:
    """Places in `length`, in groups, shortest first, in none of which one is more than twice as long as another; lengths are at least 1."""
    # The place of the highest bit of length - 1: 1, 2, 3 to 4, 5 to 8 and so on.
    doublings = np.frexp(length - 1)[1]
    return [np.flatnonzero(doublings == value) for value in np.unique(doublings)]


def _cut(order: LongArray, n_targets: LongArray, size: int, unit: BatchUnit) -> list[LongArray]:
    """Window numbers, in their order, as batches that hold at most `size` windows or targets."""
    cuts = np.arange(size, len(order), size) if unit == "sequences" else _cuts_by_targets(np.cumsum(n_targets[order]), size)
    return [batch for batch in np.split(order, cuts) if len(batch)]


def _cuts_by_targets(total: LongArray, size: int) -> LongArray:
    """Cuts at which no part holds more than `size` targets, given running totals."""
    cuts = []
    done = 0
    first = 0
    while first < len(total):
        first = max(int(np.searchsorted(total, done + size, side="right")), first + 1)
        done = int(total[first - 1])
        cuts.append(first)
    return np.array(cuts[:-1], dtype=np.int64)
