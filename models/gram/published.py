"""Files that the authors of GRAM published: IDs of items and lists of similar items (repository skleee/GRAM)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core import BadData
from recbench.core.interactions import StringArray

_BAR = "|"
_HEADER = "anchor"
_CORRECT = "Correct the line or get the file again."
_MOST_SHOWN = 60
"""Characters of a line in an error."""


def read_ids(path: Path, item_ids: StringArray) -> list[list[str]]:
    """The pieces of every item's ID, in the order of `item_ids`; a number that tells equal IDs apart is one more piece.

    A line is an item, one blank, and each piece behind a bar. Pieces keep the word mark of SentencePiece (U+2581).

    Args:
        path: of the file of IDs.
        item_ids: (n_items,) the data set's own ids.

    Raises:
        BadData: the file is not there, is not of that form, does not fit the data set or gives two items one ID; names file and line.
    """
    row_of = {item: row for row, item in enumerate(item_ids)}
    found = _Found(path, row_of)
    pieces_of: dict[int, list[str]] = {}
    line_of_id: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        item, blank, written = line.partition(" ")
        if not blank or not written.startswith(_BAR):
            raise BadData(f"{where}: {_shown(line)} is not an item, one blank and a bar before each piece of its ID. {_CORRECT}")
        row = found.add(item, number)
        pieces = written.removeprefix(_BAR).split(_BAR)
        for place, piece in enumerate(pieces, start=1):
            if not piece or " " in piece:
                what = f"piece {place} of the ID of {item!r} is {'empty' if not piece else repr(piece)}"
                raise BadData(f"{where}: {what}; a piece has at least one character and no blank. {_CORRECT}")
        first = line_of_id.setdefault(tuple(pieces), number)
        if first != number:
            raise BadData(f"{where}: {item!r} has the ID {written!r}, as the item of line {first} has. Give one of them another ID.")
        pieces_of[row] = pieces
    found.refuse_missing()
    return [pieces_of[row] for row in range(len(item_ids))]


def read_neighbours(path: Path, item_ids: StringArray) -> NDArray[np.int32]:
    """Item rows (n_items, k) of every item's similar items, best first; k is how many the first item has.

    A line is an item and its k similar items between blanks. Before the first of them may stand a header, which begins with the word
    `anchor`: the published files have one, the published notebook writes none.

    Args:
        path: of the file of similar items.
        item_ids: (n_items,) the data set's own ids.

    Raises:
        BadData: the file is not there, is not of that form or does not fit the data set; names file and line.
    """
    row_of = {item: row for row, item in enumerate(item_ids)}
    found = _Found(path, row_of)
    lines = _lines(path)
    # An item may be called `anchor`, too; its line names items of the data set, a header does not.
    words = lines[0].split()
    has_header = words[:1] == [_HEADER] and not all(word in row_of for word in words)
    neighbours: dict[int, list[int]] = {}
    k = 0
    for number, line in enumerate(lines[has_header:], start=1 + has_header):
        where = f"{path}, line {number}"
        anchor, *similar = line.split() or [""]
        k = k or len(similar)
        if not similar or len(similar) != k:
            needed = f"the first item has {k}" if k else "at least one is needed"
            raise BadData(f"{where}: {_shown(line)} names {len(similar)} similar items; {needed}. {_CORRECT}")
        row = found.add(anchor, number)
        rows = [found.row(item, number) for item in similar]
        if row in rows:
            raise BadData(f"{where}: {anchor!r} is named among its own similar items. {_CORRECT}")
        if len(set(rows)) < k:
            twice = next(item for item in similar if similar.count(item) > 1)
            raise BadData(f"{where}: {twice!r} is named twice among the similar items of {anchor!r}. {_CORRECT}")
        neighbours[row] = rows
    found.refuse_missing()
    return np.array([neighbours[row] for row in range(len(item_ids))], dtype=np.int32).reshape(len(item_ids), k)


class _Found:
    """The items of a file, each once, against those of the data set."""

    def __init__(self, path: Path, row_of: dict[str, int]) -> None:
        self._path, self._row_of = path, row_of
        self._line_of: dict[str, int] = {}

    def row(self, item: str, number: int) -> int:
        """The row of an item that a line names."""
        if item not in self._row_of:
            raise BadData(
                f"{self._path}, line {number}: the data set has no item {item!r}. Use the file that was made for this data set, "
                "with its item ids."
            )
        return self._row_of[item]

    def add(self, item: str, number: int) -> int:
        """The row of the item that a line is about."""
        row = self.row(item, number)
        first = self._line_of.setdefault(item, number)
        if first != number:
            raise BadData(f"{self._path}, line {number}: {item!r} has a line already, line {first}. Keep one of them.")
        return row

    def refuse_missing(self) -> None:
        """No item of the data set may lack a line."""
        missing = [item for item in self._row_of if item not in self._line_of]
        if missing:
            raise BadData(
                f"{self._path} lacks {len(missing):,} of the {len(self._row_of):,} items of the data set, {missing[0]!r} for one. "
                "Use the file that was made for this data set."
            )


def _lines(path: Path) -> list[str]:
    """The lines without white space at their ends and without blank lines at the end of the file; at least one."""
    again = "Get the file again or name another."
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise BadData(f"{path}: there is no such file. Correct the path.") from None
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}. Correct the path.") from None
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise BadData(f"{path}, line {number}: byte {data[error.start]:#04x} is not UTF-8. {again}") from None
    # Not splitlines: it would also cut at characters that may stand in a piece.
    lines = [line.rstrip(" \t\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise BadData(f"{path} is empty. {again}")
    return lines


def _shown(line: str) -> str:
    """The beginning of a line, in quotation marks."""
    return repr(line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}...")
