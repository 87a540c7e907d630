"""Format of `codes.parquet`, in which a training hands item codes to the evaluation: `item` int32, `code` list<int32>, and notes."""

import json
from collections.abc import Mapping

from pydantic import BaseModel, NonNegativeInt, PositiveInt

CODES_FILE = "codes.parquet"
IS_NUMBERED = "is_numbered"
"""Optional column, bool: whether the last number of an item's code only tells items of equal codes apart."""
ENDED = -1
"""Stands in a matrix of codes where an item's code has ended before the longest one."""
_PREFIX = "recbench."


class CodeNotes(BaseModel):
    """Notes that a file of codes may hold besides the codes, in the metadata of its schema."""

    level_sizes: tuple[PositiveInt, ...] = ()
    """How many values each level may take."""
    n_extra: NonNegativeInt = 0
    """So many levels at the end only tell items of equal codes apart."""
    unexplained: tuple[float, ...] = ()
    """Share of the vectors' variance that the levels up to this one left over; empty where nobody knows."""
    shared_tokens: bool = False
    """Whether a number means the same token on every level."""

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
