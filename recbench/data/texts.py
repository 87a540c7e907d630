"""Text columns of item tables, in whatever type a file has them, as text that a person would write."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbench.core.errors import BadData

_JOINS = {"description": " "}
"""Separator of the parts of a list, by column: the paragraphs of a description are joined by blanks, all other lists as an enumeration."""
_ENUMERATION = ", "
_TRAILING_ZEROS = re.compile(r"(\.\d*?)0+(?=Z?$)")


def texts_from_column(column: pa.ChunkedArray, name: str, file: str) -> list[str | None]:
    """Text of each row; None where there is none.

    Numbers come without trailing zeros and exponents, dates as 2019-01-31, times as 2019-01-31 12:00:00 (with a Z where they have a
    zone), decimals with the places they have, truth values as true and false. The parts of a list, nested or not, are joined, each once.

    Raises:
        BadData: the column holds bytes, records or durations, which no one rule makes a text of.
    """
    if _is_list(column.type):
        join = _JOINS.get(name, _ENUMERATION)
        return [join.join(dict.fromkeys(part for part in parts if part.strip())) or None for parts in _parts(column, name, file)]
    return _scalars(column, name, file)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _parts(column: pa.ChunkedArray, name: str, file: str) -> list[list[str]]:
    """The parts of each row, lists in lists laid out flat."""
    if not _is_list(column.type):
        return [[] if text is None else [text] for text in _scalars(column, name, file)]
    inner = iter(_parts(pc.list_flatten(column), name, file))
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    return [[part for _ in range(length) for part in next(inner)] for length in lengths]


def _scalars(column: pa.ChunkedArray, name: str, file: str) -> list[str | None]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        # Shortest digits of the type itself: 12.1 of 32 bits is not 12.100000381.
        return [None if np.isnan(value) else np.format_float_positional(value, trim="-") for value in column.to_numpy()]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    is_clock = pa.types.is_timestamp(kind) or pa.types.is_time(kind)
    is_plain = pa.types.is_date(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)
    if not (is_clock or is_plain or pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise BadData(f"{file}: the column {name!r} holds {kind}, which cannot be written as text. Convert it to strings.")
    texts: list[str | None] = column.cast(pa.large_string()).to_pylist()
    if not is_clock:
        return texts
    return [None if text is None else _TRAILING_ZEROS.sub(lambda found: found[1].rstrip("."), text) for text in texts]
