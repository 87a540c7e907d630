"""Tables in files: csv, packed or not, and parquet, one file or a folder of parts. A damaged file is a `BadData` that names it."""

import codecs
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recbench.core.errors import BadData, nearest
from recbench.core.visible import listed
from recbench.data.folders import parquet_parts
from recbench.data.unpacking import open_unpacked, refuse_damage

_TAIL_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 24
"""Bytes of text that are parsed at a time; each block has dictionaries of its own."""
_ENCODED = pa.dictionary(pa.int32(), pa.string())


def read_csv(
    path: Path,
    strings: Sequence[str] | None,
    *,
    columns: Sequence[str] | None = None,
    needed: Sequence[str] = (),
    refused: Mapping[str, str] = MappingProxyType({}),
    names: Sequence[str] = (),
    has_header: bool = True,
    delimiter: str = ",",
    quoted: bool = True,
    encoded: Sequence[str] = (),
) -> pa.Table:
    """Read a table from a text file, packed or not.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        strings: columns to leave as they are written, such as ids with leading zeros; None: all of them.
        columns: which columns to read where the file has them; None: all of them.
        needed: columns that the file must have.
        refused: columns that the file must not have, each with what is wrong then.
        names: names of the columns by place; default: those of the header.
        has_header: whether the first line is a header; with `names` it is skipped.
        delimiter: what stands between two values.
        quoted: whether values may stand in quotation marks and then span lines.
        encoded: columns of `strings` in which few values stand often, such as ids: they become dictionaries block by block, so that their
            text is never in memory as a whole.

    Raises:
        BadData: the file is no such table, lacks a needed column, or names one of the columns twice.
    """
    with refuse_damage(path, f"not a table with {delimiter!r} between values", "Correct or get the file again."):
        header, n_skipped = (list(names), int(has_header)) if names else csv_header(path, delimiter, quoted=quoted)
        wanted = _wanted(header, columns, needed, refused, path)
        # Columns go by their place, so that two unknown ones may share a name.
        places = {name: str(header.index(name)) for name in wanted}
        last = str(len(header) - 1)
        with open_unpacked(path) as stream:
            text = _Utf8Stream(stream, path)
            table = pa_csv.read_csv(
                text,
                read_options=pa_csv.ReadOptions(
                    column_names=[str(place) for place in range(len(header))],
                    skip_rows_after_names=n_skipped,
                    block_size=_BLOCK_BYTES,
                ),
                parse_options=pa_csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=list(dict.fromkeys([*places.values(), last])),
                    column_types={
                        place: _ENCODED if name in encoded else pa.string()
                        for name, place in places.items()
                        if strings is None or name in strings
                    } | ({} if last in places.values() else {last: pa.string()}),
                    strings_can_be_null=False,
                ),
            )  # fmt: skip
        if quoted:
            _refuse_open_quote(path, table.column(last), text.tail)
        return table.select(list(places.values())).rename_columns(list(places))


def is_parquet(path: Path, *, otherwise: bool) -> bool:
    """Whether a path is parquet: a file `NAME.parquet` or a folder of parts; `otherwise` where the name says neither parquet nor csv."""
    if path.suffix == ".parquet" or path.is_dir():
        return True
    return otherwise and not path.name.endswith((".csv", ".csv.gz"))


def read_parquet(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    needed: Sequence[str] = (),
    refused: Mapping[str, str] = MappingProxyType({}),
    encoded: Sequence[str] = (),
) -> pa.Table:
    """Read a parquet file, or a folder of them in the order of their names, numbers in names by value.

    Args:
        path: the file or folder.
        columns: which columns to read where the file has them; None: all of them.
        needed: columns that the file must have.
        refused: columns that the file must not have, each with what is wrong then.
        encoded: columns to take as dictionaries where they hold text, as for `read_csv`.

    Raises:
        BadData: a file is damaged, lacks a needed column or names one twice, or two parts differ in their columns.
    """
    if not path.is_dir():
        return _read_part(path, columns, needed, refused, encoded)
    parts = parquet_parts(path)
    tables = [_read_part(part, columns, needed, refused, encoded) for part in parts]
    for part, table in zip(parts[1:], tables[1:], strict=True):
        if sorted(table.column_names) != sorted(tables[0].column_names):
            raise BadData(f"{part} has other columns than {parts[0].name}. Write all parts with the same columns.")
    selected = [table.select(tables[0].column_names) for table in tables]
    with refuse_damage(path, "its parts have columns of different types", "Write all parts with the same types."):
        return pa.concat_tables(selected, promote_options="default")


def _read_part(
    path: Path, columns: Sequence[str] | None, needed: Sequence[str], refused: Mapping[str, str], encoded: Sequence[str]
) -> pa.Table:
    size = path.stat().st_size if path.is_file() else 0
    with refuse_damage(path, f"this is not a whole parquet file ({size:,} bytes)", "Get it again."):
        schema = pq.read_schema(path)
        wanted = _wanted(schema.names, columns, needed, refused, path)
        texts = [name for name in wanted if name in encoded and schema.field(name).type in {pa.string(), pa.large_string()}]
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts) as file:
            table = file.read(columns=wanted)
            # Bytes that are not UTF-8 would pass for text until someone reads them.
            table.validate(full=True)
            return _without_views(table)


def _without_views(table: pa.Table) -> pa.Table:
    """The table with strings that were written as views in the layout that pyarrow's functions take."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.large_string()))
    return table


def _wanted(
    present: Sequence[str], columns: Sequence[str] | None, needed: Sequence[str], refused: Mapping[str, str], path: Path
) -> list[str]:
    """The columns to read of those that a file has, in the file's order."""
    for name, reason in refused.items():
        if name in present:
            raise BadData(f"{path} {reason}")
    for name in needed:
        if name not in present:
            raise BadData(
                f"{path} has no column {name!r}; it has {listed(present)}.{nearest(name, present)} Rename or add the column. "
                "docs/add-a-dataset.md says what each column holds."
            )
    wanted = [name for name in present if columns is None or name in columns]
    repeated = [name for name in wanted if wanted.count(name) > 1]
    if repeated:
        raise BadData(f"{path} names the column {repeated[0]!r} {wanted.count(repeated[0])} times. Rename or remove all but one.")
    return wanted


def column_names(
    path: Path, columns: Sequence[str], *, refused: Mapping[str, str] = MappingProxyType({}), parquet: bool, delimiter: str = ","
) -> list[str]:
    """Names of all columns of a table; of a folder of parquet parts those of the first.

    Args:
        path: a csv or parquet file or a folder of parquet parts, as its name says.
        columns: which of them will be read.
        refused: columns that it must not have, each with what is wrong then.
        parquet: what a file is whose name says neither.
        delimiter: what stands between two values of a csv file.

    Raises:
        BadData: it is damaged, has a refused column, or names one of those to read twice.
    """
    if is_parquet(path, otherwise=parquet):
        part = parquet_parts(path)[0] if path.is_dir() else path
        with refuse_damage(
            part, f"this is not a whole parquet file ({part.stat().st_size if part.is_file() else 0:,} bytes)", "Get it again."
        ):
            names = list(pq.read_schema(part).names)
    else:
        names = csv_header(path, delimiter)[0]
    _wanted(names, columns, (), refused, path)
    return names


def csv_header(path: Path, delimiter: str, *, quoted: bool = True) -> tuple[list[str], int]:
    """Names of the columns, and how many rows of the file they take up, empty ones before them included.

    Raises:
        BadData: there is nothing in the file.
    """
    with (
        refuse_damage(path, f"its header is no line with {delimiter!r} between names", "Correct or get the file again."),
        open_unpacked(path) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
    ):
        rows = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        for number, row in enumerate(rows, start=1):
            if row:
                return row, number
    raise BadData(f"{path}: there is nothing in it. Get the file again.")


class _Utf8Stream:
    """A stream of text that remembers its last bytes, and refuses bytes that are no UTF-8 in columns that nobody reads, too."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._n_read = 0
        self.closed = False
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        n_pending = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place, byte = self._n_read - n_pending + error.start, error.object[error.start]
            raise BadData(
                f"{self._path} is not UTF-8: byte {place:,} is 0x{byte:02x} ({error.reason}). Save the file as UTF-8, or get it again."
            ) from None
        self._n_read += len(block)
        if block:
            self.tail = (self.tail + block)[-_TAIL_BYTES:]
        return block

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _refuse_open_quote(path: Path, last_column: pa.ChunkedArray, tail: bytes) -> None:
    """Refuse a file that ends inside quotation marks: the parser takes all that follows the open one for one value."""
    if not len(last_column) or not pa.types.is_string(last_column.type):
        return
    value = last_column[-1].as_py()
    if value.strip('"'):
        written = ('"' + value.replace('"', '""')).encode()
        is_open = tail.endswith(written[-_TAIL_BYTES:])
    else:
        # Nothing but quotation marks: closed ones come in pairs.
        is_open = (len(tail) - len(tail.rstrip(b'"'))) % 2 == 1
    if is_open:
        raise BadData(f"{path} ends inside quotation marks that were never closed. It was cut off, or a value lacks one; correct it.")
