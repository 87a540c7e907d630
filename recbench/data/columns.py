"""Columns of Arrow tables as ids, times and texts, with the faults a file can have."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.interactions import StringArray
from recbench.core.ragged import IntArray, LongArray
from recbench.data.reader import RawEvents, RawItems

_TOO_LARGE = 2.0**63


def events_from_table(table: pa.Table, file: str) -> RawEvents:
    """Events of a table with columns user_id, item_id and, where there are any, timestamp, position, rating; others are ignored."""
    user, user_ids = _ids(table, "user_id", file)
    item, item_ids = _ids(table, "item_id", file)
    return RawEvents(
        user,
        item,
        user_ids,
        item_ids,
        _integers(table, "timestamp", file),
        _ratings(table, file),
        _integers(table, "position", file),
    )


def items_from_table(table: pa.Table, file: str, columns: Sequence[str]) -> RawItems:
    """Item texts of a table with a column item_id; text columns it lacks are left out."""
    ids = _strings(_column(table, "item_id", file), "item_id", file)
    _refuse_empty(ids, "item_id", file)
    known = [name for name in columns if name in table.column_names]
    return RawItems(ids.to_pylist(), {name: _strings(table.column(name), name, file).to_pylist() for name in known})


def read_csv(
    path: Path,
    strings: Sequence[str] | None,
    *,
    names: Sequence[str] = (),
    has_header: bool = True,
    delimiter: str = ",",
    quoted: bool = True,
) -> pa.Table:
    """A table from a text file; one that is no such table is a `BadData`.

    Args:
        strings: columns to leave as they are written, such as ids with leading zeros; None: all of them.
        names: names of the columns by place; default: those of the header.
        has_header: whether the first line is a header; with `names` it is skipped.
        delimiter: what stands between two values.
        quoted: whether values may stand in quotation marks and then span lines.
    """
    every = strings is None
    try:
        with pa.input_stream(path, compression="detect") as stream:
            table = pa_csv.read_csv(
                stream,
                read_options=pa_csv.ReadOptions(column_names=list(names) or None, skip_rows=1 if names and has_header else 0),
                parse_options=pa_csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(_header(path, delimiter) if every else strings or (), pa.string()), strings_can_be_null=False
                ),
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadData(
            f"{path}: not a table with {delimiter!r} between values: {str(error).splitlines()[0]} Correct or get the file again."
        ) from None
    return table


def events_from_csv(path: Path, *, names: Sequence[str] = (), has_header: bool | None = None, delimiter: str = ",") -> RawEvents:
    """Events of a text file. With `names` the columns are known by place, and there is no header unless said otherwise."""
    header = not names if has_header is None else has_header
    table = read_csv(path, ("user_id", "item_id"), names=names, has_header=header, delimiter=delimiter)
    return events_from_table(table, path.name)


def _header(path: Path, delimiter: str) -> list[str]:
    with path.open("rb") as stream:
        return next(csv.reader([stream.readline().decode("utf-8-sig")], delimiter=delimiter), [])


def _column(table: pa.Table, name: str, file: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise BadData(f"{file} has no column {name!r}; it has {', '.join(table.column_names) or 'none'}. Rename or add the column.")
    return table.column(name)


def _strings(column: pa.ChunkedArray, name: str, file: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise BadData(f"{file}: the column {name!r} holds {column.type}, not strings or whole numbers. Convert it.")
    return column.cast(pa.large_string())


def _refuse_empty(column: pa.ChunkedArray, name: str, file: str) -> None:
    is_empty = pc.or_kleene(pc.is_null(column), pc.equal(pc.utf8_length(pc.fill_null(column, "")), 0))
    n_empty = pc.sum(is_empty).as_py() or 0
    if n_empty:
        first = pc.index(is_empty, True).as_py()
        raise BadData(f"{file}: {n_empty} rows have no {name}, the first is row {first}. Remove or complete them.")


def _ids(table: pa.Table, name: str, file: str) -> tuple[IntArray, StringArray]:
    """Numbers (n,) int32 and the ids they stand for."""
    column = _strings(_column(table, name, file), name, file)
    _refuse_empty(column, name, file)
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, np.int32), np.empty(0, object)
    numbers = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks]).astype(np.int32)
    return numbers, encoded.chunk(0).dictionary.to_numpy(zero_copy_only=False)


def _integers(table: pa.Table, name: str, file: str) -> LongArray | None:
    """A column of whole numbers, (n,) int64; None where the table has no such column."""
    if name not in table.column_names:
        return None
    column = table.column(name)
    if not len(column):  # a csv without rows does not tell types
        return np.empty(0, dtype=np.int64)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BadData(f"{file}: the column {name!r} holds {column.type}, not whole numbers. Convert it, times to seconds since 1970.")
    if column.null_count:
        first = pc.index(pc.is_null(column), True).as_py()
        raise BadData(f"{file}: {column.null_count} rows have no {name}, the first is row {first}. Remove or complete them.")
    values: NDArray[Any] = column.to_numpy()
    # Beyond 2 ** 63 a float has no int64; NaN compares false with everything.
    fits = np.abs(values) < _TOO_LARGE if pa.types.is_floating(column.type) else values <= np.iinfo(np.int64).max
    whole = values.astype(np.int64) if fits.all() else None
    if whole is None or not np.array_equal(whole, values):
        is_odd = ~fits if whole is None else whole != values
        odd = values[int(is_odd.argmax())]
        raise BadData(f"{file}: the column {name!r} holds {odd}, not a whole number of 64 bits. Convert it, times to seconds since 1970.")
    return whole


def _ratings(table: pa.Table, file: str) -> NDArray[np.float32] | None:
    if "rating" not in table.column_names:
        return None
    column = table.column("rating")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BadData(f"{file}: the column 'rating' holds {column.type}, not numbers. Convert or remove it.")
    ratings: NDArray[np.float32] = column.cast(pa.float64()).to_numpy().astype(np.float32)
    return ratings
