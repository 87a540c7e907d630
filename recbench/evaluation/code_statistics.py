"""Figures about item codes: how much of each level is in use, who shares a code, whether codes follow categories.

The codes come from `codes.parquet`, a standard artefact of a training; see `recbench.core.codes_file`.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from recbench.core.codes_file import ENDED, IS_NUMBERED, CodeNotes, CodeTable
from recbench.core.config import explain
from recbench.core.errors import BadData, refuse_exhaustion
from recbench.core.ragged import Histories, IntArray, LongArray

PREFIX = "codes_"
"""Beginning of the names of all these figures in a record's diagnostics."""
_SHUFFLE_SEED = 0
_BETWEEN_PARTS = ", "
"""Between the parts of a category path in an item table."""


def read_codes(path: Path) -> CodeTable:
    """The codes in a `codes.parquet`; a file that is not one is a `BadData` that names it."""
    again = "Restore it or run it again with --again."
    try:
        data = path.read_bytes()
        extra = [IS_NUMBERED] if IS_NUMBERED in pq.read_schema(io.BytesIO(data)).names else []
        table = pq.read_table(io.BytesIO(data), columns=["item", "code", *extra], page_checksum_verification=True)
        item = table.column("item").to_numpy()
        column = table.column("code").combine_chunks()
        lists = Histories(column.flatten().to_numpy().astype(np.int32), _offsets(column.value_lengths().to_numpy()))
        is_numbered = table.column(IS_NUMBERED).to_numpy() if extra else None
        notes = CodeNotes.of(table.schema.metadata or {})
    except FileNotFoundError:
        raise BadData(f"{path}: there is no such file. {again}") from None
    except ValidationError as error:
        raise BadData(f"{explain(error, list(CodeNotes.model_fields), f'{path}, its notes')} {again}") from None
    except (pa.ArrowException, OSError, AttributeError, ValueError) as error:
        refuse_exhaustion(error, path)
        raise BadData(f"{path} is not a parquet file with the columns item and code (a list of int32): {error}. {again}") from None
    if len(lists) == 0 or not np.array_equal(item, np.arange(len(item))):
        raise BadData(f"{path}: items must run from 0 on, one row each. {again}")
    code = lists.padded(ENDED)
    if lists.lengths.min() == 0 or lists.item.min() < 0:
        raise BadData(f"{path}: a code is a list of at least one number, none below 0. {again}")
    found = tuple(int(largest) + 1 for largest in code.max(axis=0))
    sizes = notes.level_sizes or found
    if len(sizes) != len(found) or any(size < used for size, used in zip(sizes, found, strict=True)) or notes.n_extra >= len(found):
        raise BadData(f"{path}: its notes give levels of the sizes {sizes}, {notes.n_extra} extra; its codes need {found}. {again}")
    if is_numbered is not None and is_numbered.dtype != np.bool_:
        raise BadData(f"{path}: the column {IS_NUMBERED} is true or false for each item, without gaps. {again}")
    return CodeTable(code, sizes, notes.n_extra, notes.unexplained, is_numbered, notes.shared_tokens)


def code_figures(table: CodeTable, categories: Sequence[str | None] | None = None) -> dict[str, float]:
    """All figures of a catalogue's codes, by the names they have in a record's diagnostics; levels count from 1.

    Per level: `codes_size_1`, `codes_used_1`, `codes_usage_1` (share), `codes_entropy_1` (bits), `codes_perplexity_1` (2 to that
    many bits), `codes_prefixes_1` (different beginnings of that length), `codes_items_per_prefix_1` (mean), `codes_largest_1` (items
    of the most common one), `codes_unexplained_1` (share of variance), and with categories `codes_purity_1` and
    `codes_purity_random_1`. Of whole codes: `codes_unique` (1 where no two are equal, else 0) and `codes_prefix_of_another` (items
    whose code is the beginning of a longer one). Of the codes without what only tells items apart: `codes_distinct`,
    `codes_colliding_share` (items that share their code with another), `codes_largest_group`, and where levels share their tokens
    `codes_distinct_tokens` (on all levels together) and `codes_repeated` (items whose code has a token twice). Where the items
    are known whose last number only tells them apart: `codes_numbered`. Of the last level: `codes_last_nonzero_share`.

    Args:
        table: the codes.
        categories: a category per item, None where unknown; see `main_categories`.
    """
    figures = {f"{PREFIX}items": float(len(table.code)), f"{PREFIX}levels": float(table.n_levels), f"{PREFIX}extra": float(table.n_extra)}
    prefix = np.zeros(len(table.code), dtype=np.int64)
    lengths = table.lengths
    n_beginnings = 0
    purities = _Purities(categories) if categories is not None and any(categories) else None
    for level, size in enumerate(table.level_sizes):
        counts = table.counts(level)
        used = int(np.count_nonzero(counts))
        entropy = _entropy(counts)
        goes_on = table.code[:, level] != ENDED
        prefix = _numbered(prefix * (size + 1) + table.code[:, level] + 1)
        values = {
            "size": size,
            "used": used,
            "usage": used / size,
            "entropy": entropy,
            "perplexity": 2.0**entropy,
            "prefixes": (n_prefixes := len(np.unique(prefix[goes_on]))),
            "items_per_prefix": np.count_nonzero(goes_on) / n_prefixes,
            "largest": np.bincount(prefix[goes_on]).max(),
        }
        n_beginnings += int(np.isin(prefix[lengths == level + 1], prefix[lengths > level + 1]).sum())
        if level < len(table.unexplained):
            values["unexplained"] = table.unexplained[level]
        if purities is not None:
            values |= {"purity": purities.of(prefix, goes_on), "purity_random": purities.of_shuffled(prefix, goes_on)}
        figures |= {f"{PREFIX}{name}_{level + 1}": float(value) for name, value in values.items()}
    figures[f"{PREFIX}unique"] = float(len(np.unique(prefix)) == len(table.code))
    figures[f"{PREFIX}prefix_of_another"] = float(n_beginnings)
    meaning = table.meaning()
    group = np.bincount(_groups(meaning))
    figures[f"{PREFIX}distinct"] = float(len(group))
    figures[f"{PREFIX}colliding_share"] = float(group[group > 1].sum() / len(table.code))
    figures[f"{PREFIX}largest_group"] = float(group.max())
    figures[f"{PREFIX}last_nonzero_share"] = float((table.code[:, -1] > 0).mean())
    if table.shared_tokens:
        tokens = np.sort(meaning, axis=1)
        is_twice = (tokens[:, 1:] == tokens[:, :-1]) & (tokens[:, 1:] != ENDED)
        figures[f"{PREFIX}distinct_tokens"] = float(len(np.unique(meaning[meaning != ENDED])))
        figures[f"{PREFIX}repeated"] = float(np.count_nonzero(is_twice.any(axis=1)))
    if table.is_numbered is not None:
        figures[f"{PREFIX}numbered"] = float(np.count_nonzero(table.is_numbered))
    return figures


def main_categories(paths: Sequence[str | None]) -> list[str | None]:
    """The category of each item: the first part of its path in which items differ; None where there is no such part.

    `Beauty, Makeup, Eyes` and `Beauty, Skin Care` give `Makeup` and `Skin Care`: a root that all items share says nothing.

    Args:
        paths: parts joined by a comma and a blank, None where unknown.
    """
    parts = [path.split(_BETWEEN_PARTS) if path else [] for path in paths]
    while len({path[0] for path in parts if path}) == 1:
        parts = [path[1:] for path in parts]
    return [path[0] if path else None for path in parts]


class _Purities:
    """How well groups of items agree with categories, and how well the same groups would with categories dealt out at random."""

    def __init__(self, categories: Sequence[str | None]) -> None:
        self.is_known = np.array([bool(category) for category in categories])
        names = np.array([category for category in categories if category], dtype=str)
        self.category = np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)
        self.shuffled = np.random.default_rng(_SHUFFLE_SEED).permutation(self.category)

    def of(self, group: LongArray, is_in: NDArray[np.bool_]) -> float:
        """Share of the items whose category is the most common one of their group."""
        return self._share(self.category, group, is_in)

    def of_shuffled(self, group: LongArray, is_in: NDArray[np.bool_]) -> float:
        """The same after a shuffle of the categories."""
        return self._share(self.shuffled, group, is_in)

    def _share(self, category: LongArray, group: LongArray, is_in: NDArray[np.bool_]) -> float:
        chosen = is_in[self.is_known]
        if not chosen.any():
            return 0.0
        n_categories = int(category.max()) + 1
        pair, count = np.unique(group[self.is_known][chosen] * n_categories + category[chosen], return_counts=True)
        most = np.zeros(int(group.max()) + 1, dtype=np.int64)
        np.maximum.at(most, pair // n_categories, count)
        return float(most.sum() / count.sum())


def _entropy(counts: LongArray) -> float:
    """Entropy of the values of a level, in bits."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def _numbered(values: LongArray) -> LongArray:
    """Equal values as equal numbers from 0 on."""
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _groups(code: IntArray) -> LongArray:
    """Items of equal codes as equal numbers."""
    return np.unique(code, axis=0, return_inverse=True)[1].reshape(-1)


def _offsets(lengths: NDArray[np.integer]) -> LongArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
