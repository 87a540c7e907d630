"""Lists of item rows of unequal length, as one flat array and offsets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int32]
LongArray: TypeAlias = NDArray[np.int64]


def sealed_copy(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only copy of an array, of the plain array type: what is done to it reaches nobody else."""
    copy = np.array(values, subok=False)
    copy.setflags(write=False)
    return copy


def flat_index(offsets: LongArray, rows: LongArray) -> tuple[LongArray, LongArray]:
    """Places of the entries of `rows` in the flat array, and the offsets of the selection.

    Args:
        offsets: (n + 1,), starts of the n lists.
        rows: (m,), which lists, in which order; repeats are allowed.

    Returns:
        index (sum of lengths,) and new offsets (m + 1,).
    """
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    new_offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=new_offsets[1:])
    index = np.arange(new_offsets[-1], dtype=np.int64)
    index += np.repeat(starts - new_offsets[:-1], lengths)
    return index, new_offsets


@dataclass(frozen=True, eq=False)
class Ragged:
    """n lists of item rows.

    Attributes:
        item: (nnz,) int32, item rows of all lists, one list after the other.
        offsets: (n + 1,) int64; list i is `item[offsets[i]:offsets[i + 1]]`.
    """

    item: IntArray
    offsets: LongArray

    def __post_init__(self) -> None:
        if self.item.dtype != np.int32 or self.offsets.dtype != np.int64:
            raise TypeError(f"item must be int32 and offsets int64, not {self.item.dtype} and {self.offsets.dtype}")
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.item):
            raise ValueError(f"offsets must run from 0 to {len(self.item)}, the number of entries")

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> Self:
        """The same lists, packed."""
        packed = [np.asarray(row, dtype=np.int32) for row in lists]
        offsets = np.zeros(len(packed) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in packed], out=offsets[1:])
        return cls(np.concatenate(packed) if packed else np.empty(0, np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> IntArray:
        return self.item[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> LongArray:
        """Length of each list, (n,) int64."""
        return np.diff(self.offsets)

    def row_of_entry(self) -> LongArray:
        """For each entry the number of its list, (nnz,) int64."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def take(self, rows: NDArray[np.integer] | Sequence[int]) -> Self:
        """The lists `rows`, in that order."""
        index, offsets = flat_index(self.offsets, np.asarray(rows, dtype=np.int64))
        return type(self)(self.item[index], offsets)


@dataclass(frozen=True, eq=False)
class Histories(Ragged):
    """The past of each query, oldest item first."""

    def last_items(self) -> LongArray:
        """The newest item of each list, (n,) int64; -1 where a list is empty."""
        last = np.full(len(self), -1, dtype=np.int64)
        has_last = self.lengths > 0
        last[has_last] = self.item[self.offsets[1:][has_last] - 1]
        return last

    def tail(self, n: int) -> Self:
        """The last `n` entries of each list."""
        ends = self.offsets[1:]
        starts = np.maximum(self.offsets[:-1], ends - n)
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        index = np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], ends - starts)
        return type(self)(self.item[index], offsets)

    def length_buckets(self, max_slots: int, max_length: int | None = None) -> list[LongArray]:
        """Row numbers in batches of like length, shortest first; every row stands in exactly one batch.

        Args:
            max_slots: most slots (rows times the longest row) in one batch; one row at least is in it.
            max_length: longer lists count as this long (a model that cuts them off pads no further).
        """
        lengths = self.lengths if max_length is None else np.minimum(self.lengths, max_length)
        order = np.argsort(lengths, kind="stable")
        ascending = np.maximum(lengths[order], 1)
        batches, start = [], 0
        while start < len(order):
            # Slots of a batch that ends at each of the following rows; they only grow.
            slots = (np.arange(start, len(order)) - start + 1) * ascending[start:]
            end = start + max(1, int(np.searchsorted(slots, max_slots, side="right")))
            batches.append(order[start:end])
            start = end
        return batches

    def padded(self, fill: int, *, side: str = "right") -> IntArray:
        """A rectangle (n, longest) int32 with `fill` where a list has ended; `side` says where the filling goes."""
        lengths = self.lengths
        width = int(lengths.max(initial=0))
        out = np.full((len(self), width), fill, dtype=np.int32)
        column = np.arange(len(self.item), dtype=np.int64) - np.repeat(self.offsets[:-1], lengths)
        if side == "left":
            column += np.repeat(width - lengths, lengths)
        out[self.row_of_entry(), column] = self.item
        return out


@dataclass(frozen=True, eq=False)
class Targets(Ragged):
    """The answer to each query: a set of items, of size one in next-item prediction."""
