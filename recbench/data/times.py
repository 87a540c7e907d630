"""Columns of times, in whatever type a file has them, as whole seconds since 1970 and the part below a second."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.interactions import UNKNOWN_TIME
from recbench.core.ragged import LongArray

_TOO_LARGE = 2.0**63
_DAY_S = 86_400
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MISSING = pa.array(["", "na", "n/a", "nan", "nat", "none", "null"])
_DIGITS = r"^-?[0-9]{1,18}$"
_DECIMAL = r"^\+?(?P<whole>-?\d+)(?P<part>\.\d*)?$"
_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_ISO = (
    r"^(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,](?P<part>\d+))?)?"
    r" ?(?P<zone>[Zz]|UTC|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)?)?$"
)
_REMEDY = "Convert it to seconds since 1970."


@dataclass(frozen=True, eq=False)
class Times:
    """Time stamps of n events.

    Attributes:
        seconds: (n,) int64, whole seconds, rounded down; since 1970 unless the file means something else.
        fraction: (n,) float64, what is left below a second, in seconds from 0 to 1; None where nothing is left anywhere.
    """

    seconds: LongArray
    fraction: NDArray[np.float64] | None


def times_from_column(column: pa.ChunkedArray, name: str, file: str) -> Times:
    """Times of a column of numbers, dates, time stamps of any unit and zone, or text that holds numbers or ISO 8601 times.

    Times without a zone are UTC.

    Raises:
        BadData: the column is of another type, a value is missing or unreadable, or two ways of writing are mixed.
    """
    column = _plain(column)
    if not len(column):  # a csv without rows does not tell types
        return Times(np.empty(0, dtype=np.int64), None)
    kind = column.type
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return _from_text(column, name, file)
    _refuse_missing(pc.is_null(column, nan_is_null=True), name, file)
    if pa.types.is_timestamp(kind):
        return _from_units(column.cast(pa.int64()).to_numpy(), _PER_SECOND[kind.unit])
    if pa.types.is_date32(kind):
        return Times(column.cast(pa.int32()).to_numpy().astype(np.int64) * _DAY_S, None)
    if pa.types.is_date64(kind):
        return _from_units(column.cast(pa.int64()).to_numpy(), _PER_SECOND["ms"])
    if pa.types.is_floating(kind):
        _refuse_coarse(column, name, file)
        return _from_floats(column.to_numpy().astype(np.float64), name, file)
    if pa.types.is_integer(kind):
        return Times(_whole(column.to_numpy(), name, file), None)
    raise BadData(f"{file}: the column {name!r} holds {kind}, not whole numbers of seconds, dates or times. {_REMEDY}")


def seconds_where_known(column: pa.ChunkedArray, name: str, file: str) -> LongArray | None:
    """Whole seconds of a column of times that may lack some, (n,) int64 with `UNKNOWN_TIME` there; None where it lacks all.

    Raises:
        BadData: as `times_from_column`, but for missing values.
    """
    column = _plain(column)
    is_missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        is_missing = _says_nothing(_trimmed(column))
    if not pc.any(pc.invert(is_missing)).as_py():
        return None
    # Another value of the column stands in, so that messages name the rows of the file.
    filled = pc.if_else(is_missing, column[pc.index(is_missing, False).as_py()], column)
    seconds = times_from_column(filled, name, file).seconds
    return np.where(is_missing.to_numpy(), UNKNOWN_TIME, seconds)


def whole_numbers(column: pa.ChunkedArray, name: str, file: str) -> LongArray:
    """A column of whole numbers, (n,) int64.

    Raises:
        BadData: the column holds something else or lacks a value.
    """
    column = _plain(column)
    if not len(column):
        return np.empty(0, dtype=np.int64)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BadData(f"{file}: the column {name!r} holds {column.type}, not whole numbers. Convert it.")
    times = times_from_column(column, name, file)
    if times.fraction is not None:
        odd = column[int((times.fraction > 0).argmax())].as_py()
        raise BadData(f"{file}: the column {name!r} holds {odd}, not a whole number. Convert it.")
    return times.seconds


def iso_times(column: pa.ChunkedArray, name: str, file: str) -> Times:
    """Times written as ISO 8601, such as `2019-01-31` or `2019-01-31 12:00:00.250+01:00`; UTC where no zone is written.

    Raises:
        BadData: a value is none, or some values have a zone and others have none.
    """
    is_iso = pc.match_substring_regex(column, _ISO)
    if not pc.all(is_iso).as_py():
        row = pc.index(is_iso, False).as_py()
        odd = column[row].as_py()
        raise BadData(
            f"{file}: the column {name!r} holds strings such as {odd!r} (row {row}), "
            f"not whole numbers and no dates of the form 2019-01-31 or 2019-01-31 12:00:00. {_REMEDY}"
        )
    pieces = pc.extract_regex(column, _ISO).combine_chunks()
    day, hour, minute, second, part, zone = (pieces.field(at) for at in range(pieces.type.num_fields))
    zones = np.array(zone.to_pylist(), dtype=object)
    has_zone = zones != ""
    if has_zone.any() and not has_zone.all():
        row = int((~has_zone).argmax())
        raise BadData(f"{file}: the column {name!r} has times with and without a zone, the first without is row {row}. Write it for all.")
    seconds = _days(day, name, file) * _DAY_S + _number(hour) * 3600 + _number(minute) * 60 + _number(second)
    offsets = {text: _offset_s(text) for text in set(zones.tolist())}
    seconds -= np.fromiter((offsets[text] for text in zones.tolist()), dtype=np.int64, count=len(zones))
    return Times(seconds, _or_none(_decimals(part)))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _refuse_missing(is_missing: pa.ChunkedArray, name: str, file: str) -> None:
    n_missing = pc.sum(is_missing).as_py() or 0
    if n_missing:
        first = pc.index(is_missing, True).as_py()
        raise BadData(f"{file}: {n_missing} rows have no {name}, the first is row {first}. Remove or complete them.")


def _from_text(column: pa.ChunkedArray, name: str, file: str) -> Times:
    seconds = _digits_alone(column)
    if seconds is not None:
        return Times(seconds, None)
    text = _trimmed(column)
    _refuse_missing(_says_nothing(text), name, file)
    if pc.all(pc.match_substring_regex(text, _DECIMAL)).as_py():
        return _from_decimals(text, name, file)
    is_number = pc.match_substring_regex(text, _NUMBER)
    if pc.all(is_number).as_py():
        return _from_floats(text.cast(pa.float64()).to_numpy(), name, file)
    if pc.any(is_number).as_py():
        raise _of_two_kinds(text, is_number, name, file)
    return iso_times(text, name, file)


def _digits_alone(column: pa.ChunkedArray) -> LongArray | None:
    """The numbers of a column that holds nothing but digits, as most do: without a copy of its text. None where it holds anything else."""
    numbers = []
    for chunk in column.chunks:
        if chunk.null_count or not pc.all(pc.match_substring_regex(chunk, _DIGITS), min_count=0).as_py():
            return None
        numbers.append(chunk.cast(pa.int64()).to_numpy())
    return np.concatenate(numbers)


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.large_string()), ""))


def _says_nothing(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(pc.utf8_lower(text), _MISSING)


def _of_two_kinds(text: pa.ChunkedArray, is_number: pa.ChunkedArray, name: str, file: str) -> BadData:
    """The error for a column of which some values are numbers and others are not; it names the first that is neither number nor date."""
    is_read = pc.or_(is_number, pc.match_substring_regex(text, _ISO))
    if not pc.all(is_read).as_py():
        row = pc.index(is_read, False).as_py()
        return BadData(
            f"{file}: the column {name!r} holds {text[row].as_py()!r} (row {row}), which is neither a number nor a date. {_REMEDY}"
        )
    number, date = pc.index(is_number, True).as_py(), pc.index(is_number, False).as_py()
    return BadData(
        f"{file}: the column {name!r} holds numbers such as {text[number].as_py()!r} (row {number}) and dates such as "
        f"{text[date].as_py()!r} (row {date}). Write all of them in one way."
    )


def _refuse_coarse(column: pa.ChunkedArray, name: str, file: str) -> None:
    """Refuse floating-point numbers that are too large for their type to tell one second from the next."""
    digits = {pa.float16(): 11, pa.float32(): 24}.get(column.type)
    largest = pc.max(pc.abs(column.cast(pa.float64()))).as_py()
    if digits is None or not 2.0**digits < largest < _TOO_LARGE:
        return
    step = 2.0 ** (math.floor(math.log2(largest)) + 1 - digits)
    raise BadData(
        f"{file}: the column {name!r} holds {column.type} numbers as large as {largest:.0f}, which are rounded to {step:.0f} s: "
        "order and equal times are lost. Write the column as int64 or float64, from the source."
    )


def _from_decimals(text: pa.ChunkedArray, name: str, file: str) -> Times:
    """Numbers without an exponent, split at the point: no digit is lost."""
    pieces = pc.extract_regex(text, _DECIMAL).combine_chunks()
    whole, part = pieces.field(0), pieces.field(1)
    try:
        seconds = whole.cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
    except pa.ArrowInvalid:
        odd = next(value for value in whole.to_pylist() if not -_TOO_LARGE <= int(value) < _TOO_LARGE)
        raise _too_large(odd, name, file) from None
    fraction = _decimals(pc.utf8_ltrim(part, "."))
    below_zero = pc.starts_with(whole, "-").to_numpy(zero_copy_only=False) & (fraction > 0)
    seconds[below_zero] -= 1
    fraction[below_zero] = 1.0 - fraction[below_zero]
    return Times(seconds, _or_none(fraction))


def _from_units(values: LongArray, per_second: int) -> Times:
    """Whole numbers of a unit below a second."""
    seconds = values // per_second
    return Times(seconds, _or_none((values - seconds * per_second) / per_second))


def _from_floats(values: NDArray[np.float64], name: str, file: str) -> Times:
    # NaN compares false with everything.
    fits = np.abs(values) < _TOO_LARGE
    if not fits.all():
        raise _too_large(values[int((~fits).argmax())], name, file)
    seconds = np.floor(values)
    return Times(seconds.astype(np.int64), _or_none(values - seconds))


def _whole(values: NDArray[Any], name: str, file: str) -> LongArray:
    is_large = values > np.iinfo(np.int64).max
    if is_large.any():
        raise _too_large(values[int(is_large.argmax())], name, file)
    return values.astype(np.int64)


def _too_large(odd: object, name: str, file: str) -> BadData:
    return BadData(f"{file}: the column {name!r} holds {odd}, not a whole number of 64 bits. {_REMEDY}")


def _or_none(fraction: NDArray[np.float64]) -> NDArray[np.float64] | None:
    return fraction if fraction.any() else None


def _number(digits: pa.StringArray) -> LongArray:
    """Numbers of at most two digits; nothing written is 0."""
    values: LongArray = (
        pc.if_else(pc.equal(digits, ""), pa.scalar("0", digits.type), digits).cast(pa.int64()).to_numpy(zero_copy_only=False)
    )
    return values


def _decimals(digits: pa.StringArray) -> NDArray[np.float64]:
    """Digits behind a point as a fraction of 1."""
    zero, nothing = pa.scalar("0.", digits.type), pa.scalar("", digits.type)
    values = pc.binary_join_element_wise(zero, digits, nothing).cast(pa.float64())
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _days(days: pa.StringArray, name: str, file: str) -> LongArray:
    """Days since 1970."""
    encoded = pc.dictionary_encode(days)
    numbers = np.empty(len(encoded.dictionary), dtype=np.int64)
    for place, day in enumerate(encoded.dictionary.to_pylist()):
        try:
            numbers[place] = np.datetime64(day, "D").astype(np.int64)
        except ValueError:
            raise BadData(f"{file}: the column {name!r} holds {day!r}, and there is no such day. Correct it.") from None
    of_each: LongArray = numbers[encoded.indices.to_numpy()]
    return of_each


def _offset_s(zone: str) -> int:
    """Seconds that a zone such as `+02:00` or `-0530` is ahead of UTC."""
    if zone in {"", "Z", "z", "UTC"}:
        return 0
    digits = zone[1:].replace(":", "")
    ahead = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return -ahead if zone[0] == "-" else ahead
