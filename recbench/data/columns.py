"""Columns of Arrow tables as events and item texts, with the faults a file can have."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, field_validator

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData, nearest
from recbench.core.interactions import StringArray
from recbench.core.ragged import IntArray
from recbench.core.visible import listed
from recbench.data.reader import RawEvents, RawItems
from recbench.data.tables import column_names, is_parquet, read_csv, read_parquet
from recbench.data.texts import texts_from_column
from recbench.data.times import seconds_where_known, times_from_column, whole_numbers

PRE_SPLIT: Mapping[str, str] = {
    "item_id_list": "was divided into histories and targets already: its column 'item_id_list' holds the history of each row. "
    "recbench divides data itself; get the file with one row for each event, from before the split."
}
"""Column of files that are no list of events, with what to say then."""
EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "position", "rating", "unix_time")
"""All that `events_from_table` looks at."""
_NEEDED = ("user_id", "item_id")
_OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "user_id": ("user", "uid", "customer", "customer_id", "reviewer_id", "visitor_id", "member_id", "session_id"),
    "item_id": ("item", "iid", "movie", "movie_id", "product", "product_id", "asin", "sku", "article_id", "book_id", "isbn", "track_id"),
    "timestamp": ("time", "date", "datetime", "day", "ts", "created_at", "event_time", "review_time", "unix_review_time"),
    "title": ("name", "product_name", "movie_title"),
}
"""What published tables call these columns; letters and digits alone count."""
AS_WRITTEN = ("user_id", "item_id", "timestamp", "unix_time")
"""Columns of text files that are not to be read as numbers: ids keep their zeros, times their digits."""


def events_from_table(table: pa.Table, file: str) -> RawEvents:
    """Events of a table with columns user_id, item_id and any others of `EVENT_COLUMNS`; what is not among these is ignored."""
    user, user_ids = _ids(table, "user_id", file)
    item, item_ids = _ids(table, "item_id", file)
    has = table.column_names
    times = times_from_column(table.column("timestamp"), "timestamp", file) if "timestamp" in has else None
    return RawEvents(
        user,
        item,
        user_ids,
        item_ids,
        None if times is None else times.seconds,
        _ratings(table, file),
        whole_numbers(table.column("position"), "position", file) if "position" in has else None,
        fraction=None if times is None else times.fraction,
        unix_time=seconds_where_known(table.column("unix_time"), "unix_time", file) if "unix_time" in has else None,
    )


def items_from_table(table: pa.Table, file: str, columns: Sequence[str]) -> RawItems:
    """Item texts of a table with a column item_id; text columns it lacks are left out."""
    ids = _strings(_column(table, "item_id", file), "item_id", file)
    _refuse_empty(ids, "item_id", file)
    known = [name for name in columns if name in table.column_names]
    return RawItems(ids.to_pylist(), {name: texts_from_column(table.column(name), name, file) for name in known})


class TableOptions(PluginConfig):
    """How the files of ready data are written."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Standard name of a column, such as `user_id` -> its name in the files. Columns of standard names need no entry."""

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: dict[str, str]) -> dict[str, str]:
        repeated = [name for name in columns.values() if list(columns.values()).count(name) > 1]
        if repeated:
            raise ValueError(f"two names stand for the column {repeated[0]!r} of the files. Keep one of them.")
        return columns

    def in_files(self, names: Sequence[str]) -> dict[str, str]:
        """Name in the files -> standard name, of each of `names`."""
        return {self.columns.get(name, name): name for name in names}


def read_events(path: Path, options: TableOptions, *, parquet: bool, delimiter: str = ",") -> RawEvents:
    """Events of a file with a header.

    Args:
        path: a csv or parquet file or a folder of parquet parts, as its name says.
        options: names of its columns.
        parquet: what a file is whose name says neither.
        delimiter: what stands between two values of a csv file.
    """
    standard = _present(path, EVENT_COLUMNS, _NEEDED, options, refused=PRE_SPLIT, parquet=parquet, delimiter=delimiter)
    columns, needed = list(standard), list(options.in_files(_NEEDED))
    if is_parquet(path, otherwise=parquet):
        table = read_parquet(path, columns, needed=needed, encoded=needed)
    else:
        table = read_csv(path, list(options.in_files(AS_WRITTEN)), columns=columns, delimiter=delimiter, encoded=needed)
    return events_from_table(table.rename_columns([standard[name] for name in table.column_names]), path.name)


def read_items(path: Path, columns: Sequence[str], options: TableOptions, *, parquet: bool, delimiter: str = ",") -> RawItems:
    """Item texts of a file with a header; arguments as for `read_events`, and the text columns to read."""
    standard = _present(path, ("item_id", *columns), ("item_id",), options, parquet=parquet, delimiter=delimiter)
    if is_parquet(path, otherwise=parquet):
        table = read_parquet(path, list(standard), needed=list(options.in_files(("item_id",))))
    else:
        table = read_csv(path, None, columns=list(standard), delimiter=delimiter)
    return items_from_table(table.rename_columns([standard[name] for name in table.column_names]), path.name, columns)


def told_columns(
    files: Mapping[str, Path], options: TableOptions, columns: Sequence[str], *, parquet: bool, delimiter: str = ","
) -> list[str]:
    """What the columns of events and items are taken for, a line per file; arguments as for `read_items`, and files by role."""
    lines = []
    for role, names, needed in (("interactions", EVENT_COLUMNS, _NEEDED), ("items", ("item_id", *columns), ("item_id",))):
        if role in files:
            standard = _present(files[role], names, needed, options, parquet=parquet, delimiter=delimiter)
            present = column_names(files[role], list(standard), parquet=parquet, delimiter=delimiter)
            likely = {other: name for name, other in _likely(names, options, present).items()}
            read = [f"{standard[name]}{'' if standard[name] == name else f' (called {name})'}" for name in present if name in standard]
            others = [f"{name}{f' (is it {likely[name]}?)' if name in likely else ''}" for name in present if name not in standard]
            lines.append(f"{files[role].name}: {listed(read)}" + (f"; not read: {listed(others)}" if others else ""))
    return lines


def _present(
    path: Path,
    names: Sequence[str],
    needed: Sequence[str],
    options: TableOptions,
    *,
    refused: Mapping[str, str] = MappingProxyType({}),
    parquet: bool,
    delimiter: str,
) -> dict[str, str]:
    """Name in the file -> standard name, of those of `names` that it has; a `BadData` with a way out where it lacks a needed one."""
    standard = options.in_files(names)
    present = column_names(path, list(standard), refused=refused, parquet=parquet, delimiter=delimiter)
    for name, meant in options.in_files(needed).items():
        if name not in present:
            likely = _likely(names, options, present)
            hint = nearest(name, present) or (f" It may be called {likely[meant]!r} here." if meant in likely else "")
            mapped = ", ".join(f"{one} = {json.dumps(other)}" for one, other in likely.items())
            in_card = f", or say in a card what it is called: [options] columns = {{ {mapped} }}" if mapped else ""
            raise BadData(
                f"{path} has no column {name!r}; it has {listed(present)}.{hint} Rename or add the column{in_card}. "
                "docs/add-a-dataset.md shows a card and says what each column holds."
            )
    return {name: meant for name, meant in standard.items() if name in present}


def _likely(names: Sequence[str], options: TableOptions, present: Sequence[str]) -> dict[str, str]:
    """What standard columns that a file lacks are probably called in it."""
    standard = options.in_files(names)
    free = [other for other in present if other not in standard]
    found = {}
    for other, name in standard.items():
        usual = {_letters(word) for word in (name, *_OTHER_NAMES.get(name, ()))}
        called = [word for word in free if _letters(word) in usual]
        if other not in present and called:
            found[name] = called[0]
    return found


def _letters(name: str) -> str:
    """`user_id`, `userId` and `User ID` are one name."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def read_pairs(path: Path, left: str, right: str, *, parquet: bool) -> RawEvents:
    """Pairs of ids of a file with a header, those of one column in place of users, those of another in place of items.

    Args:
        path: a csv or parquet file or a folder of parquet parts, as its name says.
        left, right: the columns.
        parquet: what a file is whose name says neither.
    """
    table = read_columns(path, (left, right), needed=(left, right), parquet=parquet)
    first, first_ids = _ids(table, left, path.name)
    second, second_ids = _ids(table, right, path.name)
    return RawEvents(first, second, first_ids, second_ids, None)


def read_columns(path: Path, names: Sequence[str], *, needed: Sequence[str], parquet: bool) -> pa.Table:
    """Columns of a file with a header, those of `names` that it has; of a text file all as they are written.

    Args:
        path: a csv or parquet file or a folder of parquet parts, as its name says.
        names: the columns.
        needed: those that it must have.
        parquet: what a file is whose name says neither.
    """
    if is_parquet(path, otherwise=parquet):
        return read_parquet(path, names, needed=needed)
    return read_csv(path, names, columns=names, needed=needed)


def events_by_place(path: Path, names: Sequence[str], *, has_header: bool = False) -> RawEvents:
    """Events of a csv file whose columns are known by place, whatever a header says."""
    return events_from_table(read_csv(path, AS_WRITTEN, columns=EVENT_COLUMNS, names=names, has_header=has_header), path.name)


def _column(table: pa.Table, name: str, file: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        has = table.column_names
        raise BadData(
            f"{file} has no column {name!r}; it has {listed(has)}.{nearest(name, has)} Rename or add the column. "
            "docs/add-a-dataset.md says what each column holds."
        )
    return table.column(name)


def _strings(column: pa.ChunkedArray, name: str, file: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise BadData(f"{file}: the column {name!r} holds {column.type}, not strings or whole numbers. Convert it.")
    return column.cast(kind).cast(pa.large_string())


def _refuse_empty(column: pa.ChunkedArray, name: str, file: str) -> None:
    is_empty = pc.or_kleene(pc.is_null(column), pc.equal(pc.utf8_length(pc.fill_null(column, "")), 0))
    n_empty = pc.sum(is_empty).as_py() or 0
    if n_empty:
        first = pc.index(is_empty, True).as_py()
        raise BadData(f"{file}: {n_empty} rows have no {name}, the first is row {first}. Remove or complete them.")


def _ids(table: pa.Table, name: str, file: str) -> tuple[IntArray, StringArray]:
    """Numbers (n,) int32 and the ids they stand for."""
    encoded = _encoded(_column(table, name, file), name, file).unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, np.int32), np.empty(0, object)
    numbers = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks]).astype(np.int32)
    return numbers, encoded.chunk(0).dictionary.to_numpy(zero_copy_only=False)


def _encoded(column: pa.ChunkedArray, name: str, file: str) -> pa.ChunkedArray:
    """A column of ids as dictionaries of text, each chunk with its own; one that was read as such is not spread out."""
    is_clean = pa.types.is_dictionary(column.type) and not column.null_count
    if is_clean and all(_holds_ids(chunk.dictionary) for chunk in column.chunks):
        return column.cast(pa.dictionary(pa.int32(), pa.large_string()))
    texts = _strings(column, name, file)
    _refuse_empty(texts, name, file)
    return pc.dictionary_encode(texts)


def _holds_ids(values: pa.Array) -> bool:
    """Whether these are texts, each once and none of them empty."""
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    return is_text and not values.null_count and pc.min(pc.utf8_length(values)).as_py() != 0 and len(values.unique()) == len(values)


def _ratings(table: pa.Table, file: str) -> NDArray[np.float64] | None:
    if "rating" not in table.column_names:
        return None
    column = table.column("rating")
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise BadData(f"{file}: the column 'rating' holds {column.type}, not numbers. Convert or remove it.")
    if column.type == pa.float32():
        # A limit of 4.1 shall keep the 4.1 of a short column, and a limit just above 3 no 3: the number is the one that would be written.
        column = _as_written(column)
    ratings: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return ratings


def _as_written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The shortest decimal number that each float32 stands for, float64."""
    encoded = column.dictionary_encode()
    chunks = [chunk.dictionary.cast(pa.string()).cast(pa.float64()).take(chunk.indices) for chunk in encoded.chunks]
    return pa.chunked_array(chunks, pa.float64())
