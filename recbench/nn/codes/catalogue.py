"""Item codes: a few small numbers per item, different for each item, and the tokens a model reads and writes for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import ValidationError

from recbench.core.codes_file import CODES_FILE, ENDED, IS_NUMBERED, CodeNotes, CodeTable
from recbench.core.config import explain
from recbench.core.errors import BadData, refuse_exhaustion
from recbench.core.ragged import Histories, IntArray, Ragged

FIRST_TOKEN = 3
"""0 pads, 1 starts, 2 is reserved."""


@dataclass(frozen=True, eq=False)
class ItemCodes(CodeTable):
    """The codes of a catalogue as a model makes, reads and writes them; a `ValueError` where they contradict each other."""

    def __post_init__(self) -> None:
        if self.code.ndim != 2 or self.code.dtype != np.int32 or self.code.shape[1] != len(self.level_sizes):
            raise ValueError(f"code of shape {self.code.shape}, {self.code.dtype}, does not fit {len(self.level_sizes)} levels of int32")
        if len(self.code) and (self.code.min() < ENDED or (self.code.max(axis=0) >= np.array(self.level_sizes)).any()):
            raise ValueError(f"a code lies outside its level; sizes are {self.level_sizes}, largest {self.code.max(axis=0).tolist()}")
        if (np.diff((self.code == ENDED).astype(np.int8), axis=1) < 0).any():
            raise ValueError("a code goes on after its end")
        if self.is_numbered is not None and (self.is_numbered.shape != (len(self.code),) or self.is_numbered.dtype != np.bool_):
            raise ValueError(
                f"is_numbered of shape {self.is_numbered.shape}, {self.is_numbered.dtype}, does not fit {len(self.code)} items"
            )

    def __len__(self) -> int:
        return len(self.code)

    @property
    def n_tokens(self) -> int:
        """Different tokens of all levels together."""
        return max(self.level_sizes) if self.shared_tokens else sum(self.level_sizes)

    def tokens(self, first: int = FIRST_TOKEN) -> IntArray:
        """The codes as tokens, (n_items, L) int32: each level has a range of its own, one after the other from `first` on, or all have
        one where they share tokens; 0 where a code has ended."""
        sizes = (0,) * (self.n_levels - 1) if self.shared_tokens else self.level_sizes[:-1]
        starts = np.array(list(accumulate(sizes, initial=first)), dtype=np.int32)
        return np.where(self.code == ENDED, 0, self.code + starts)

    def token_lists(self, first: int = FIRST_TOKEN) -> Ragged:
        """The same without padding, a list per item."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        return Ragged(self.tokens(first)[self.code != ENDED], offsets)

    def save(self, folder: Path) -> Path:
        """Write `codes.parquet`: item int32, code list<int32>, is_numbered bool where it is known, and in the notes what else there is to
        know. Gives back its path."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        lists = self.token_lists(0)
        notes = CodeNotes.model_validate(self, from_attributes=True)
        columns = {
            "item": pa.array(np.arange(len(self), dtype=np.int32)),
            "code": pa.ListArray.from_arrays(pa.array(lists.offsets.astype(np.int32)), pa.array(self.code[self.code != ENDED])),
        }
        # Codes that know nothing of it are written as they were before there was any: files are compared by their content.
        if self.is_numbered is not None:
            columns[IS_NUMBERED] = pa.array(self.is_numbered)
        table = pa.table(columns).replace_schema_metadata(notes.metadata())
        path = folder / CODES_FILE
        pq.write_table(table, path, compression="zstd")
        return path

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the file that `save` wrote; a file that is something else is a `BadData` that names it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, again = folder / CODES_FILE, "Delete that folder and give the command again."
        try:
            table = pq.read_table(path)
            notes = CodeNotes.of(table.schema.metadata)
            if missing := {"level_sizes", "n_extra", "unexplained"} - notes.model_fields_set:
                raise ValueError(f"its notes lack {', '.join(sorted(missing))}")
            column = table.column("code").combine_chunks()
            lists = Histories(column.values.to_numpy().astype(np.int32), column.offsets.to_numpy().astype(np.int64))
            is_numbered = table.column(IS_NUMBERED).to_numpy() if IS_NUMBERED in table.column_names else None
            return cls(lists.padded(ENDED), is_numbered=is_numbered, **notes.model_dump())
        except ValidationError as error:
            raise BadData(f"{explain(error, list(CodeNotes.model_fields), f'{path}, its notes')} {again}") from None
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            refuse_exhaustion(error, path)
            raise BadData(f"{path} holds no item codes: {error}. {again}") from None


def make_unique(codes: IntArray, level_sizes: Sequence[int], *, least_size: int = 1) -> ItemCodes:
    """The codes with one more level, which numbers the items of equal codes 0, 1, 2, ... in item order; an item alone has 0.

    The level is always there, so all codes are of one length, and it looks at nothing but the codes (arXiv:2305.05065, section 3.1).

    Args:
        codes: (n_items, L) int32.
        level_sizes: of the L levels.
        least_size: of the new level; a larger group of equal codes makes it larger.
    """
    n_items = len(codes)
    _, group = np.unique(codes, axis=0, return_inverse=True)
    group = group.reshape(-1)
    # Sorting by group is stable: within a group the items stay in item order.
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    extra = np.empty(n_items, dtype=np.int32)
    extra[order] = np.arange(n_items) - np.repeat(starts, sizes)
    code = np.concatenate([codes, extra[:, None]], axis=1).astype(np.int32)
    return ItemCodes(code, (*level_sizes, int(sizes.max(initial=least_size))), n_extra=1)
