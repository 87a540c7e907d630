"""The four tables of a record as parquet files: small, and the same bytes for the same content.

`ranks.parquet` and `exposure.parquet` belong to one run. The facts about the targets and the train counts of the items are the
same for all runs on a split; their files are named after the hash of their content, so that runs share them.

What reads a file takes its content too, from whoever has read it already.
"""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recbench.core.errors import BadData, refuse_exhaustion
from recbench.core.ragged import LongArray
from recbench.core.ranking import VIEWS, View
from recbench.core.visible import listed
from recbench.evaluation.exposure import Exposure
from recbench.evaluation.facts import TargetFacts
from recbench.evaluation.rank_table import RankTable, ShortArray

_LIST_LENGTH = "recbench.list_length"
_SINGLE_TARGETS = "recbench.single_targets"
"""There only where users have several queries, so that the bytes of other tables say nothing about it."""
_HASH_CHARACTERS = 16
_NUMBERS = {"BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE"}
_MOST_CELLS = 1 << 26
"""Of one table of a stranger; the largest of the published records have a hundredth of it."""


def content_name(prefix: str, table_bytes: bytes) -> str:
    """The name of a shared file, such as `targets-0123456789abcdef.parquet`."""
    return f"{prefix}-{hashlib.sha256(table_bytes).hexdigest()[:_HASH_CHARACTERS]}.parquet"


def write_ranks(ranks: RankTable, path: Path) -> Path:
    """`ranks.parquet`: user, target and one rank column per view. Gives back `path`."""
    notes = {_LIST_LENGTH: str(ranks.list_length)} | ({_SINGLE_TARGETS: "yes"} if ranks.has_single_targets else {})
    columns = {"user": ranks.user, "target": ranks.target} | {f"rank_{view}": ranks.rank[view] for view in VIEWS if view in ranks.rank}
    return _write(_encode(columns, notes), path)


def read_ranks(path: Path, content: bytes | None = None) -> RankTable:
    """The table in `ranks.parquet`; a file that is not one is a `BadData` that names it."""
    table = _open(path, content, {"user": pa.int32(), "target": pa.int32()}, {f"rank_{view}": pa.int16() for view in VIEWS})
    rank: dict[View, ShortArray] = {view: _column(table, f"rank_{view}") for view in VIEWS if f"rank_{view}" in table.column_names}
    if not rank:
        names = ", ".join(f"rank_{view}" for view in VIEWS)
        raise BadData(f"{path} has none of the columns {names}. Restore the file or run it again with --again.")
    notes = table.schema.metadata or {}
    written = notes.get(_LIST_LENGTH.encode(), b"")
    if not written.isdigit():
        raise BadData(f"{path} does not say how long its lists were ({_LIST_LENGTH}). Restore the file or run it again with --again.")
    list_length = int(written)
    for view, column in rank.items():
        low, high = int(column.min(initial=0)), int(column.max(initial=0))
        if low < -1 or high >= max(list_length, 1):
            raise BadData(
                f"{path}: rank_{view} runs from {low} to {high}; -1 to {list_length - 1} is possible. "
                "Restore the file or run it again with --again."
            )
    return RankTable(_column(table, "user"), _column(table, "target"), rank, list_length, _SINGLE_TARGETS.encode() in notes)


def fault_of_numbers(path: Path) -> str:
    """Why a stranger's file can be none of these tables; empty where it may be.

    Its foot alone is read: a small file can unpack to any size.
    """
    try:
        about = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        return f"this is no whole parquet file: {str(error).splitlines()[0]}"
    kinds = {about.schema.column(place).physical_type for place in range(about.num_columns)}
    if kinds - _NUMBERS:
        return f"it has a column of {min(kinds - _NUMBERS)}; tables of a record hold numbers only"
    if about.num_rows * about.num_columns > _MOST_CELLS:
        return f"it says that it has {about.num_rows:,} rows of {about.num_columns:,} columns, more than any split"
    return ""


def write_exposure(exposure: Exposure, path: Path) -> Path:
    """`exposure.parquet`: every item and how often it is shown in each view. Gives back `path`."""
    n_items = len(next(iter(exposure.counts.values())))
    columns = {"item": np.arange(n_items, dtype=np.int32)} | {view: exposure.counts[view] for view in VIEWS if view in exposure.counts}
    return _write(_encode(columns), path)


def read_exposure(path: Path, content: bytes | None = None) -> Exposure:
    """The counts in `exposure.parquet`; a file that is not one is a `BadData` that names it."""
    table = _open(path, content, {"item": pa.int32()}, {view: pa.int32() for view in VIEWS})
    _check_item_rows(table, path)
    counts = {view: _column(table, view) for view in VIEWS if view in table.column_names}
    if not counts:
        raise BadData(f"{path} has no column of a view ({', '.join(VIEWS)}). Restore the file or run it again with --again.")
    return Exposure(counts)


def write_targets(facts: TargetFacts, folder: Path) -> Path:
    """The facts as `targets-HASH.parquet` in `folder`; gives back its path. A file that is there already is left alone."""
    columns: dict[str, NDArray[Any] | None] = {name: getattr(facts, name) for name in _TARGET_COLUMNS}
    columns |= {f"{_OF_TASK}{name}": facts.of_task[name] for name in sorted(facts.of_task)}
    data = _encode(columns)
    return _write(data, folder / content_name("targets", data))


def read_targets(path: Path, content: bytes | None = None) -> TargetFacts:
    """The facts in `targets-HASH.parquet`; a file that is not one is a `BadData` that names it."""
    table = _open(path, content, _TARGET_COLUMNS, nullable=_NOT_ALWAYS_KNOWN, prefix=_OF_TASK)
    columns: dict[str, Any] = {}
    for name in _TARGET_COLUMNS:
        n_unknown = table.column(name).null_count
        if n_unknown not in {0, len(table)}:
            raise BadData(f"{path}: {name} is known for some rows and null in {n_unknown}. Restore the file or run it again with --again.")
        columns[name] = None if n_unknown else _column(table, name)
    of_task = {name.removeprefix(_OF_TASK): _column(table, name) for name in table.column_names if name.startswith(_OF_TASK)}
    return TargetFacts(**columns, of_task=of_task)


def write_items(train_count: LongArray, folder: Path) -> Path:
    """The train counts as `items-HASH.parquet` in `folder`; gives back its path. A file that is there already is left alone."""
    data = _encode({"item": np.arange(len(train_count), dtype=np.int32), "train_count": train_count.astype(np.int64)})
    return _write(data, folder / content_name("items", data))


def read_items(path: Path, content: bytes | None = None) -> LongArray:
    """The train counts in `items-HASH.parquet`, (n_items,) int64; a file that is not one is a `BadData` that names it."""
    table = _open(path, content, {"item": pa.int32(), "train_count": pa.int64()})
    _check_item_rows(table, path)
    counts: LongArray = _column(table, "train_count")
    return counts


_TARGET_COLUMNS: dict[str, Any] = {
    "user": pa.int32(),
    "target": pa.int32(),
    "target_count": pa.int32(),
    "history_length": pa.int32(),
    "is_tied": pa.bool_(),
    "in_history": pa.bool_(),
    "follows_last": pa.bool_(),
    "history_popularity": pa.float64(),
}
_NOT_ALWAYS_KNOWN = ("is_tied", "follows_last")
_OF_TASK = "fact_"
"""Before the names of columns that only the task of a record knows."""
_OF_TASK_TYPES = (pa.bool_(), pa.int32(), pa.float64())
_ASCENDING = ("user", "item")
"""Columns that hardly change from row to row; their differences take almost no space."""


def _encode(columns: Mapping[str, NDArray[Any] | None], notes: Mapping[str, str] | None = None) -> bytes:
    """A parquet file of these columns; None is a column of unknown truth values."""
    n_rows = max(len(column) for column in columns.values() if column is not None)
    arrays = [pa.nulls(n_rows, pa.bool_()) if column is None else _array(column) for column in columns.values()]
    table = pa.table(arrays, names=list(columns)).replace_schema_metadata(dict(notes or {}))
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=9,
        use_dictionary=[name for name in columns if name not in _ASCENDING],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in _ASCENDING if name in columns},
        write_statistics=False,
        write_page_checksum=True,
        # Arrow's own schema says nothing that the parquet types do not say, but notes are written only with it.
        store_schema=bool(notes),
        version="2.6",
        row_group_size=1 << 20,
    )
    return sink.getvalue()


def _array(column: NDArray[Any]) -> Any:
    """The column as it is, without nulls."""
    # pa.array would do the same and import pandas first, half a second of every run.
    is_truth = column.dtype == np.bool_
    data = np.packbits(column, bitorder="little") if is_truth else np.ascontiguousarray(column)
    kind = pa.bool_() if is_truth else pa.from_numpy_dtype(column.dtype)
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(data)])


def _write(data: bytes, path: Path) -> Path:
    """The bytes at `path`, there as a whole or not at all."""
    if path.is_file() and path.read_bytes() == data:
        return path
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _open(
    path: Path,
    content: bytes | None,
    required: Mapping[str, Any],
    optional: Mapping[str, Any] | None = None,
    nullable: Sequence[str] = (),
    prefix: str = "\0",
) -> Any:
    """The table at `path` with the columns asked for, and those whose name starts with `prefix`, types checked."""
    try:
        source = pa.BufferReader(path.read_bytes() if content is None else content)
        # Without threads and the data sets of Arrow: these tables are small, and it would take several times as long.
        table = pq.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
        present = list(table.column_names)
    except FileNotFoundError:
        raise BadData(f"{path}: there is no such file. Restore it or run it again with --again.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        refuse_exhaustion(error, path)
        raise BadData(f"{path} is not a readable parquet file: {error}. Restore it or run it again with --again.") from None
    optional = optional or {}
    missing = [name for name in required if name not in present]
    if missing:
        raise BadData(f"{path} has no column {missing[0]!r}, only {listed(present)}. Restore it or run it again with --again.")
    repeated = next((name for name in present if present.count(name) > 1), None)
    if repeated is not None:
        raise BadData(f"{path} has {present.count(repeated)} columns {repeated!r}. Restore it or run it again with --again.")
    for name in present:
        wanted = required.get(name) or optional.get(name)
        if name.startswith(prefix) and table.column(name).type in _OF_TASK_TYPES:
            wanted = table.column(name).type
        if wanted is None:
            raise BadData(f"{path} has a column {name!r} that does not belong there. Restore it or run it again with --again.")
        if table.column(name).type != wanted:
            raise BadData(f"{path}: column {name!r} is {table.column(name).type}, not {wanted}. Restore it or run it again with --again.")
        if name not in nullable and table.column(name).null_count:
            raise BadData(f"{path}: column {name!r} has {table.column(name).null_count} nulls. Restore it or run it again with --again.")
    return table


def _column(table: Any, name: str) -> NDArray[Any]:
    values: NDArray[Any] = table.column(name).to_numpy()
    return values


def _check_item_rows(table: Any, path: Path) -> None:
    item = _column(table, "item")
    wrong = item != np.arange(len(item))
    if wrong.any():
        row = int(wrong.argmax())
        raise BadData(f"{path}: row {row} is about item {item[row]}; items must run from 0 on. Restore it or run it again with --again.")
