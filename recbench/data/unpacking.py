"""Packed files as streams of bounded size: a file that swells beyond reason is refused before it fills memory or disk."""

import csv
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from recbench.core.errors import BadData, refuse_exhaustion

LARGEST_RATIO = 200
"""Unpacked bytes for each packed byte; text of this field stays below 30, deflate reaches 1,032."""
ALWAYS_FINE_BYTES = 64 << 20
"""Unpacked bytes up to which no ratio is looked at: small files of equal lines pack very well."""
DAMAGE = (
    pa.ArrowException, OSError, EOFError, ValueError, OverflowError, MemoryError, RecursionError, NotImplementedError, RuntimeError,
    KeyError, IndexError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile, csv.Error,
)  # fmt: skip
"""What the libraries that unpack and parse raise for a damaged file; `UnicodeDecodeError` is a `ValueError`."""

_GZIP_MAGIC = b"\x1f\x8b"
_COMPRESSIONS = {".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}


@contextmanager
def refuse_damage(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises for a damaged file into one `BadData` that names the file, and a lack of memory into `OutOfMemory`.

    Args:
        path: the file that is read inside the block.
        what: the fault as a phrase, such as `this is not a whole parquet file`.
        remedy: what to do, a sentence.
    """
    try:
        yield
    except DAMAGE as error:
        refuse_exhaustion(error, path)
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise BadData(f"{path}: {what}: {reason.rstrip('.')}. {remedy}") from None


@contextmanager
def open_unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where it is packed; see `unpacked`."""
    with path.open("rb") as raw:
        yield unpacked(raw, path)


def unpacked(raw: BinaryIO, path: Path) -> BinaryIO:
    """The bytes of an open file, unpacked where it is packed.

    Whether a file is gzip is seen from its first bytes: browsers unpack some downloads and leave the name. Other packings are told
    from the suffix.

    Raises:
        BadData: while reading, as soon as the file unpacks to more than any honest file would.
    """
    is_gzip = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    raw.seek(0)
    if is_gzip:
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    elif path.suffix in _COMPRESSIONS:
        stream = pa.input_stream(raw, compression=_COMPRESSIONS[path.suffix])
    else:
        return raw
    return cast("BinaryIO", io.BufferedReader(_Bounded(stream, path, path.stat().st_size)))


class _Bounded(io.RawIOBase):
    """A stream of unpacked bytes that ends in a `BadData` where there are too many of them."""

    def __init__(self, stream: BinaryIO, path: Path, packed_bytes: int) -> None:
        self._stream, self._path = stream, path
        self._limit = allowed_bytes(packed_bytes)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._read += len(data)
        if self._read > self._limit:
            raise _swollen(self._path, f"it unpacks to more than {self._limit:,} bytes")
        buffer[: len(data)] = data
        return len(data)


def allowed_bytes(packed_bytes: int) -> int:
    """How many bytes a file of `packed_bytes` may unpack to."""
    return max(ALWAYS_FINE_BYTES, LARGEST_RATIO * packed_bytes)


def refuse_swollen_member(archive: Path, member: zipfile.ZipInfo, stated_bytes: int = 0) -> None:
    """Refuse a member of a zip archive that would be larger than stated, or than any honest one.

    `zipfile` never unpacks more than the size in the archive's own directory, so looking at that size suffices.

    Args:
        archive: the zip file.
        member: its member.
        stated_bytes: the size that a card states; 0 where it states none.

    Raises:
        BadData: the member is too large.
    """
    if stated_bytes and member.file_size > stated_bytes:
        raise _swollen(archive, f"its member {member.filename!r} has {member.file_size:,} bytes, {stated_bytes:,} are stated")
    limit = allowed_bytes(min(member.compress_size, archive.stat().st_size))
    if member.file_size > limit:
        raise _swollen(archive, f"its member {member.filename!r} unpacks to {member.file_size:,} bytes, more than {limit:,}")


def _swollen(path: Path, what: str) -> BadData:
    return BadData(f"{path} is not unpacked: {what}. It was altered or made to fill the disk; get it again from its publisher.")
