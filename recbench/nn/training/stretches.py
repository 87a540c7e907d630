"""The train part as stretches of consecutive items, for models that hide items and learn to put them back."""

from dataclasses import dataclass

import numpy as np

from recbench.core.ragged import IntArray, LongArray, Ragged
from recbench.nn.training.windows import groups_of_like_length, in_random_order, length_bucketed

# S stretches, B stretches of one batch, T columns, U users


@dataclass(frozen=True, eq=False)
class Stretches:
    """Stretches of users' sequences. Unlike `Windows`, nothing follows a stretch: what is predicted stands inside.

    Attributes:
        item: (nnz,) int32 items of all users.
        start: (S,) int64, where each stretch begins in `item`.
        length: (S,) int64, how many items it has, at least 1.
        user: (S,) int64, ascending.
    """

    item: IntArray
    start: LongArray
    length: LongArray
    user: LongArray

    @classmethod
    def tiles(cls, sequences: Ragged, max_length: int) -> "Stretches":
        """Every item in exactly one stretch, cut from the newest end backwards: only a user's first stretch may be short."""
        n_tiles_U = -(-sequences.lengths // max_length)
        user, nth = _numbered(n_tiles_U)
        end = sequences.lengths[user] - (n_tiles_U[user] - 1 - nth) * max_length
        return cls._ending(sequences, user, end, max_length)

    @classmethod
    def prefixes(cls, sequences: Ragged, max_length: int) -> "Stretches":
        """One stretch for each item, which is its last: the user's sequence up to it, cut to its newest `max_length` items."""
        user, nth = _numbered(sequences.lengths)
        return cls._ending(sequences, user, nth + 1, max_length)

    @classmethod
    def _ending(cls, sequences: Ragged, user: LongArray, end: LongArray, max_length: int) -> "Stretches":
        length = np.minimum(end, max_length)
        return cls(sequences.item, sequences.offsets[user] + end - length, length, user)

    def __len__(self) -> int:
        return len(self.start)

    def one_per_user(self, generator: np.random.Generator) -> LongArray:
        """Numbers of stretches, ascending: a random one of each user who has any."""
        first = np.flatnonzero(np.diff(self.user, prepend=-1))
        count = np.diff(first, append=len(self))
        return first + (generator.random(len(first)) * count).astype(np.int64)

    def batches(self, numbers: LongArray, *, bucketed: bool, size: int, generator: np.random.Generator) -> list[LongArray]:
        """The stretches `numbers`, each once, in batches.

        Args:
            numbers: (n,) which stretches.
            bucketed: stretches of like length meet, which saves padding; False: any stretches meet.
            size: most stretches of a batch.
            generator: draws which of them meet, and the order of the batches.
        """
        length = self.length[numbers]
        one_each = np.ones_like(length)
        if bucketed:
            parts = length_bucketed(one_each, length, size=size, unit="sequences", generator=generator)
        else:
            parts = in_random_order(one_each, size=size, unit="sequences", generator=generator)
        return [numbers[part] for part in parts]

    def of_like_length(self, rows: LongArray) -> list[LongArray]:
        """Stretches `rows` in groups, shortest first, in none of which one is more than twice as long as another."""
        return [rows[group] for group in groups_of_like_length(self.length[rows])]

    def padded(self, rows: LongArray, fill: int) -> LongArray:
        """Items of the stretches `rows`, oldest first, (B, T) int64 with `fill` after the end."""
        column_T = np.arange(int(self.length[rows].max(initial=0)))
        is_there_BT = column_T < self.length[rows, None]
        place_BT = np.where(is_there_BT, self.start[rows, None] + column_T, 0)
        return np.where(is_there_BT, self.item[place_BT], fill).astype(np.int64)


def _numbered(count_U: LongArray) -> tuple[LongArray, LongArray]:
    """Each user as often as they are counted, and which time it is."""
    user = np.repeat(np.arange(len(count_U), dtype=np.int64), count_U)
    return user, np.arange(len(user), dtype=np.int64) - np.repeat(np.cumsum(count_U) - count_U, count_U)
