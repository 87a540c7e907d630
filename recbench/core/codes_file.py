"""Format of `codes.parquet`, in which a training hands item codes to the evaluation: `item` int32, `code` list<int32>, and notes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, NonNegativeInt, PositiveInt

from recbench.core.ragged import IntArray, LongArray

CODES_FILE = "codes.parquet"
IS_NUMBERED = "is_numbered"
"""Optional column, bool: whether the last number of an item's code only tells items of equal codes apart."""
ENDED = -1
"""Stands in a matrix of codes where an item's code has ended before the longest one."""
_PREFIX = "recbench."


class CodeNotes(BaseModel):
    """Notes that a file of codes may hold besides the codes, in the metadata of its schema; see `CodeTable`."""

    level_sizes: tuple[PositiveInt, ...] = ()
    n_extra: NonNegativeInt = 0
    unexplained: tuple[float, ...] = ()
    shared_tokens: bool = False

    @classmethod
    def of(cls, metadata: Mapping[bytes, bytes]) -> "CodeNotes":
        """The notes among a file's metadata; a `ValueError` where one is not what it should be."""
        names = {name: f"{_PREFIX}{name}".encode() for name in cls.model_fields}
        return cls.model_validate({name: json.loads(metadata[key]) for name, key in names.items() if key in metadata})

    def metadata(self) -> dict[str, str]:
        """The notes as a file has them."""
        # Files are compared by their content: those without shared tokens are written as before there were any.
        left_out = set() if self.shared_tokens else {"shared_tokens"}
        return {f"{_PREFIX}{name}": json.dumps(value) for name, value in self.model_dump(mode="json", exclude=left_out).items()}


@dataclass(frozen=True, eq=False)
class CodeTable:
    """The codes of a catalogue.

    Attributes:
        code: (n_items, L) int32, -1 where an item's code has ended already.
        level_sizes: (L,) how many values each level may take.
        n_extra: so many levels at the end only tell items of equal codes apart.
        unexplained: share of the vectors' variance that the levels up to this one left over; empty where nobody knows.
        is_numbered: (n_items,) whether the last number of an item's code, on whatever level it stands, only tells items of equal codes
            apart; None where that is a matter of levels alone.
        shared_tokens: whether a number means the same token on every level.
    """

    code: IntArray
    level_sizes: tuple[int, ...]
    n_extra: int = 0
    unexplained: tuple[float, ...] = ()
    is_numbered: NDArray[np.bool_] | None = None
    shared_tokens: bool = False

    @property
    def n_levels(self) -> int:
        """L, the levels of the longest code."""
        return len(self.level_sizes)

    def counts(self, level: int) -> LongArray:
        """How many items have each value of a level (from 0), (size of the level,)."""
        values = self.code[:, level]
        return np.bincount(values[values != ENDED], minlength=self.level_sizes[level]).astype(np.int64)

    @property
    def lengths(self) -> LongArray:
        """Levels of each item's code, (n_items,) int64."""
        lengths: LongArray = np.count_nonzero(self.code != ENDED, axis=1).astype(np.int64)
        return lengths

    def meaning(self) -> IntArray:
        """The codes without what only tells items apart, (n_items, at most L); a code of nothing else is empty."""
        if self.is_numbered is None:
            return self.code[:, : self.n_levels - self.n_extra]
        code = self.code.copy()
        code[self.is_numbered, self.lengths[self.is_numbered] - 1] = ENDED
        return code
