"""Files of IDs and of similar items: read in the data set's order, and each fault named with its line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core import BadData
from recbench_models.gram.published import read_ids, read_neighbours

ITEMS = np.array(["A1", "B2", "C3"], dtype=object)
IDS = ["C3 |▁hair|▁care|0", "A1 |▁hair|▁care|1", "B2 |▁anti|-|age-ing|▁"]
NEIGHBOURS = ["anchor neighbor_1 neighbor_2", "B2 C3 A1", "A1 B2 C3", "C3 A1 B2"]


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes(("\n".join(lines) + end).encode())
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n  \n"])
def test_ids_in_the_order_of_the_data_set(tmp_path: Path, end: str) -> None:
    """A number is one more piece; a piece may hold a hyphen or be the word mark alone."""
    found = read_ids(write(tmp_path / "ids.txt", IDS, end), ITEMS)
    assert found == [["▁hair", "▁care", "1"], ["▁anti", "-", "age-ing", "▁"], ["▁hair", "▁care", "0"]]


def test_what_other_programs_take_for_a_line_break_is_part_of_a_piece(tmp_path: Path) -> None:
    assert read_ids(write(tmp_path / "ids.txt", ["A1 |x\u2028|y\x85z"]), ITEMS[:1]) == [["x\u2028", "y\x85z"]]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n  \n"])
def test_neighbours_in_the_order_of_the_data_set(tmp_path: Path, end: str) -> None:
    found = read_neighbours(write(tmp_path / "similar.txt", NEIGHBOURS, end), ITEMS)
    assert found.dtype == np.int32
    assert found.tolist() == [[1, 2], [2, 0], [0, 1]]
    one = read_neighbours(write(tmp_path / "one.txt", ["anchor", "B2 A1", "A1 B2", "C3 A1"], end), ITEMS)
    assert one.tolist() == [[1], [0], [0]]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_as_the_published_notebook_writes_it_has_no_header(tmp_path: Path, end: str) -> None:
    assert read_neighbours(write(tmp_path / "similar.txt", NEIGHBOURS[1:], end), ITEMS).tolist() == [[1, 2], [2, 0], [0, 1]]
    # An item called as the header's first word keeps its line.
    items = np.array(["anchor", "b"], dtype=object)
    assert read_neighbours(write(tmp_path / "word.txt", ["anchor b", "b anchor"], end), items).tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["C3 ▁hair", *IDS[1:]], "line 1: 'C3 ▁hair' is not an item, one blank and a bar"),
        ([IDS[0], "A1", IDS[2]], "line 2: 'A1' is not an item"),
        ([IDS[0], "", *IDS[1:]], "line 2: '' is not an item"),
        ([IDS[0], "A1  |x", IDS[2]], "line 2: 'A1  |x' is not an item"),
        ([IDS[0], "A1|x", IDS[2]], r"line 2: 'A1\|x' is not an item"),
        ([IDS[0], f"A1{'x' * 80}"], r"line 2: 'A1x{58}\.\.\.' is not an item"),
        ([*IDS[:2], "B2 |x||y"], "line 3: piece 2 of the ID of 'B2' is empty"),
        ([*IDS[:2], "B2 |x|"], "line 3: piece 2 of the ID of 'B2' is empty"),
        ([*IDS[:2], "B2 |"], "line 3: piece 1 of the ID of 'B2' is empty"),
        ([*IDS[:2], "B2 |x y|z"], "line 3: piece 1 of the ID of 'B2' is 'x y'; .* no blank"),
        ([*IDS, "D4 |x"], "line 4: the data set has no item 'D4'"),
        ([*IDS, "A1 |x"], "line 4: 'A1' has a line already, line 2"),
        ([*IDS[:2], "B2 |▁hair|▁care|0"], r"line 3: 'B2' has the ID '\|▁hair\|▁care\|0', as the item of line 1"),
        (IDS[:1], "lacks 2 of the 3 items of the data set, 'A1' for one"),
    ],
)
def test_a_file_of_ids_that_cannot_be(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(BadData, match=rf"ids\.txt,? {message}"):
        read_ids(write(tmp_path / "ids.txt", lines), ITEMS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["item similar", *NEIGHBOURS[1:]], "line 1: the data set has no item 'item'"),
        (["", *NEIGHBOURS], "line 1: '' names 0 similar items"),
        ([*NEIGHBOURS[:2], "A1 B2", NEIGHBOURS[3]], "line 3: 'A1 B2' names 1 similar items; the first item has 2"),
        ([*NEIGHBOURS[:2], "A1 B2 C3 C3", NEIGHBOURS[3]], "line 3: 'A1 B2 C3 C3' names 3 similar items; the first item has 2"),
        ([NEIGHBOURS[0], "A1"], "line 2: 'A1' names 0 similar items; at least one is needed"),
        ([*NEIGHBOURS[:2], "", *NEIGHBOURS[2:]], "line 3: '' names 0 similar items; the first item has 2"),
        ([*NEIGHBOURS, "D4 A1 B2"], "line 5: the data set has no item 'D4'"),
        ([*NEIGHBOURS[:3], "C3 A1 D4"], "line 4: the data set has no item 'D4'"),
        ([*NEIGHBOURS, "A1 C3 B2"], "line 5: 'A1' has a line already, line 3"),
        ([*NEIGHBOURS[:3], "C3 A1 A1"], "line 4: 'A1' is named twice among the similar items of 'C3'"),
        ([*NEIGHBOURS[:3], "C3 A1 C3"], "line 4: 'C3' is named among its own similar items"),
        (NEIGHBOURS[:2], "lacks 2 of the 3 items of the data set, 'A1' for one"),
        (NEIGHBOURS[:1], "lacks 3 of the 3 items of the data set, 'A1' for one"),
    ],
)
def test_a_file_of_neighbours_that_cannot_be(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(BadData, match=rf"similar\.txt,? {message}"):
        read_neighbours(write(tmp_path / "similar.txt", lines), ITEMS)


@pytest.mark.parametrize("read", [read_ids, read_neighbours])
def test_a_file_that_is_no_text(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(BadData, match=r"file\.txt: there is no such file"):
        read(path, ITEMS)
    for nothing in (b"", b"\n \n"):
        path.write_bytes(nothing)
        with pytest.raises(BadData, match=r"file\.txt is empty"):
            read(path, ITEMS)
    path.write_bytes(b"anchor a\nA1 \xe2\x96\n")
    with pytest.raises(BadData, match=r"file\.txt, line 2: byte 0xe2 is not UTF-8"):
        read(path, ITEMS)
    with pytest.raises(BadData, match="cannot be read"):
        read(tmp_path, ITEMS)
