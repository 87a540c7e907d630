"""Text files line by line, plain or gzip, as a stream."""

import codecs
import json
import re
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.core.ragged import LongArray
from recbench.data.reader import RawEvents, Vocabulary
from recbench.data.unpacking import DAMAGE, unpacked

_LINES_PER_REPORT = 20_000
_TIMES_AT_A_TIME = 1 << 18
_DIGITS = r"^-?[0-9]+$"


def lines(path: Path, progress: Progress) -> Iterator[tuple[int, bytes]]:
    """Line numbers from 1 and the lines that are not blank; a damaged gzip file is a `BadData`.

    Whether a file is gzip is seen from its first bytes: browsers unpack some downloads and leave the name.
    """
    number = 0
    with path.open("rb") as raw, progress.task(f"read {path.name}", total=path.stat().st_size) as task:
        done = 0
        try:
            for number, line in enumerate(unpacked(raw, path), start=1):
                if number % _LINES_PER_REPORT == 0:
                    task.advance(raw.tell() - done)
                    done = raw.tell()
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text and not text.isspace():
                    yield number, text
        except DAMAGE as error:
            raise BadData(f"{path}: damaged after line {number}: {error}. The file was cut off or altered; get it again.") from None


def parse_json(line: bytes, number: int, path: Path) -> dict[str, Any]:
    """The JSON object on a line; anything else is a `BadData` with the number of the line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}, line {number} is not JSON: {error}. The file was altered or is of another format.") from None
    if not isinstance(value, dict):
        raise BadData(f"{path}, line {number} is not a JSON object. The file is of another format.")
    return value


def wanted_id(row: Mapping[str, Any], key: str, wanted: Collection[str]) -> str | None:
    """The id of a row where it is one of those wanted."""
    found = row.get(key)
    return found if isinstance(found, str) and found in wanted else None


class EventLines:
    """Collects events that are read line by line.

    A line is not parsed as a whole: reviews are long, and four short values are wanted. Inside a JSON string every quotation mark has
    a backslash before it, so `"key": "` can only be a key. Where the quick way finds nothing, the line is parsed.
    """

    def __init__(self, path: Path, *, user: str, item: str, time: str, rating: str) -> None:
        self._path = path
        self._keys = {"user": user, "item": item, "time": time, "rating": rating}
        self._user_pattern = re.compile(rb'"%s"\s*:\s*"([^"\\]+)"' % user.encode())
        self._item_pattern = re.compile(rb'"%s"\s*:\s*"([^"\\]+)"' % item.encode())
        self._time_pattern = re.compile(rb'"%s"\s*:\s*(?:"([^"\\]+)"|([^\s",}\\]+)\s*[,}])' % time.encode())
        self._rating_pattern = re.compile(rb'"%s"\s*:\s*([-+.\deE]+)' % rating.encode())
        self._users, self._items = Vocabulary(), Vocabulary()
        self._user, self._item = array("i"), array("i")
        self._rating = array("d")
        self._times: list[str] = []
        self._packed_times: list[pa.Array] = []

    def add(self, number: int, line: bytes) -> None:
        """One event; a line that lacks a value is a `BadData`."""
        user = self._user_pattern.search(line)
        item = self._item_pattern.search(line)
        time = self._time_pattern.search(line)
        rating = self._rating_pattern.search(line)
        try:
            if user and item and time and rating:
                found = (user[1].decode(), item[1].decode(), (time[1] or time[2]).decode(), float(rating[1]))
            else:
                found = self._parsed(number, line)
        except ValueError:  # bytes that are no text, digits that are no number: the parser says where
            found = self._parsed(number, line)
        self._user.append(self._users.number(found[0]))
        self._item.append(self._items.number(found[1]))
        self._rating.append(found[3])
        self._times.append(found[2])
        if len(self._times) == _TIMES_AT_A_TIME:
            self._pack_times()

    def _pack_times(self) -> None:
        """As a list they would take five times the memory."""
        self._packed_times.append(pa.array(self._times, pa.string()))
        self._times = []

    def times(self) -> pa.ChunkedArray:
        """Time of each event, as it is written."""
        self._pack_times()
        return pa.chunked_array(self._packed_times)

    def _parsed(self, number: int, line: bytes) -> tuple[str, str, str, float]:
        row = parse_json(line, number, self._path)
        for key in self._keys.values():
            if row.get(key) in (None, ""):
                raise BadData(f"{self._path}, line {number} has no {key!r}. The file is of another format or was altered.")
            if isinstance(row[key], bool | list | dict):
                raise BadData(f"{self._path}, line {number}: {key} = {row[key]!r} is neither text nor a number. The file was altered.")
        written = row[self._keys["rating"]]
        try:
            rating = float(written)
        except (TypeError, ValueError):
            raise BadData(
                f"{self._path}, line {number}: {self._keys['rating']} = {written!r} is not a number. The file was altered."
            ) from None
        user, item, time = (str(row[self._keys[what]]) for what in ("user", "item", "time"))
        for what, text in (("an id", user), ("an id", item), ("the time", time)):
            if not _is_writable(text):
                raise BadData(
                    f"{self._path}, line {number}: {what} holds half of a surrogate pair, which is no character. Correct the line."
                )
        return user, item, time, rating

    def events(self, timestamp: LongArray, fraction: NDArray[np.float64] | None = None) -> RawEvents:
        """All events added, with the times that the caller made of `times`: whole seconds, and what is left below a second."""
        return RawEvents(
            np.frombuffer(self._user, dtype=np.int32) if self._user else np.empty(0, np.int32),
            np.frombuffer(self._item, dtype=np.int32) if self._item else np.empty(0, np.int32),
            self._users.ids(),
            self._items.ids(),
            timestamp,
            np.frombuffer(self._rating, dtype=np.float64) if self._rating else np.empty(0),
            fraction=fraction,
        )

    def whole_numbers(self) -> LongArray:
        """`times` as int64; one that is not a whole number is a `BadData`."""
        numbers = [np.empty(0, np.int64)]
        for chunk in self.times().chunks:
            try:
                # Arrow would take 0x1F for a number, too.
                is_plain = pc.all(pc.match_substring_regex(chunk, _DIGITS)).as_py()
                part = chunk.cast(pa.int64()).to_numpy() if is_plain else self._written_oddly(chunk, sum(map(len, numbers)))
            except pa.ArrowInvalid:
                part = self._written_oddly(chunk, sum(map(len, numbers)))
            numbers.append(part)
        return np.concatenate(numbers)

    def _written_oddly(self, chunk: pa.Array, n_before: int) -> LongArray:
        """As NumPy reads them, which takes more ways of writing than Arrow."""
        texts = chunk.to_pylist()
        try:
            return np.array(texts, dtype=np.int64)
        except (ValueError, OverflowError):
            place, text = next((place, text) for place, text in enumerate(texts) if not _is_whole(text))
            raise BadData(
                f"{self._path}, event {n_before + place + 1}: {self._keys['time']} = {text!r} is not a whole number. The file was altered."
            ) from None


def _is_writable(text: str) -> bool:
    """Whether a text has a UTF-8 form; half of a surrogate pair has none."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_whole(text: str) -> bool:
    """Whether NumPy makes an int64 of it."""
    try:
        np.array(text).astype(np.int64)
    except (ValueError, OverflowError):
        return False
    return True
