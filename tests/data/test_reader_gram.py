"""The reader of GRAM's text files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadData, SilentProgress
from recbench.data import Dataset, load_reader

Write = Callable[..., Path]
Read = Callable[..., Dataset]

SEQUENCES = ["A2 B3 B1 B3", "A1 B1"]
ITEMS = [
    "B3 title: a; brand: na; categories: beauty, skin care; description: na; price: 9.99; salesrank: beauty: 20924",
    "B1 title: b: the second; part; brand: x; categories: na; description: see; title: here; price: na; salesrank: na",
    "B9 title: not bought; brand: na; categories: na; description: ; price: na; salesrank: na",
]


@pytest.fixture
def card(tmp_path: Path, write_card: Write) -> Callable[..., Path]:
    """Writes both files and a card for them; the text follows its keys."""

    def write(sequences: list[str] | None = None, items: list[str] | None = None, text: str = "") -> Path:
        for name, lines in (("user_sequence.txt", sequences or SEQUENCES), ("item_plain_text.txt", items or ITEMS)):
            (tmp_path / name).write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        files = "{ role = 'sequences', name = 'user_sequence.txt' }, { role = 'items', name = 'item_plain_text.txt' }"
        source = f"[[sources]]\nkind = 'folder'\npath = '{tmp_path}'\nfiles = [{files}]\n"
        return write_card(f"leaking_columns = ['salesrank']\n{text}\n{source}", reader="gram", time="position")

    return write


def texts(dataset: Dataset) -> dict[str, dict[str, str]]:
    return {
        item: {name: column[row] for name, column in dataset.items.columns.items() if column[row] is not None}
        for row, item in enumerate(dataset.items.item_ids)
    }


def test_sequences_and_texts(card: Callable[..., Path], read: Read) -> None:
    dataset = read(card())
    assert dataset.user_ids.tolist() == ["A1", "A2"]
    assert dataset.items.item_ids.tolist() == ["B1", "B3", "B9"]
    assert dataset.interactions.item.tolist() == [0, 1, 0, 1]
    assert dataset.interactions.timestamp.tolist() == [0, 0, 1, 2]
    assert texts(dataset) == {
        "B1": {"title": "b: the second; part", "brand": "x", "description": "see; title: here"},
        "B3": {"title": "a", "categories": "beauty, skin care", "price": "9.99"},
        "B9": {"title": "not bought"},
    }


def test_the_sales_rank_leaks(card: Callable[..., Path], read: Read) -> None:
    assert texts(read(card(text="read_leaking_columns = true")))["B3"]["salesrank"] == "beauty: 20924"


def test_other_keys(card: Callable[..., Path], read: Read) -> None:
    """`name` is a title; a key that the reader does not know is part of the value before it, until the card names it."""
    items = ["B1 name: jay's; city: x; categories: food", "B3 city: y; name: na; categories: bars  \r"]
    named = "options = { more_keys = ['city', 'a.b'] }"
    assert texts(read(card(items=items, text=named))) == {"B1": {"title": "jay's", "categories": "food"}, "B3": {"categories": "bars"}}
    with pytest.raises(BadData, match=r"item_plain_text\.txt, line 2: the text of item 'B3' begins with 'city: y"):
        read(card(items=items))
    assert texts(read(card(items=[items[0], ITEMS[0]])))["B1"]["title"] == "jay's; city: x"


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([*SEQUENCES, "A3"], "line 3: 'A3' is not an id, one blank and what belongs to it"),
        ([" A3 B1", *SEQUENCES], "line 1: ' A3 B1' is not an id"),
        (["A3\tB1", *SEQUENCES], r"line 1: 'A3\\tB1' is not an id"),
        ([SEQUENCES[0], "A1 B1  B3"], "line 2: item 2 of user 'A1' is '', no id"),
        ([SEQUENCES[0], "A1 B1\tB3"], r"line 2: item 1 of user 'A1' is 'B1\\tB3', no id"),
        ([*SEQUENCES, "", "A2 B1"], "line 4: 'A2' has a line already, line 1"),
        ([SEQUENCES[0], "A1 \udcff"], "line 2: byte 0xff is not UTF-8"),
    ],
)
def test_a_line_of_a_user_that_cannot_be(card: Callable[..., Path], read: Read, sequences: list[str], message: str) -> None:
    with pytest.raises(BadData, match=rf"user_sequence\.txt, {message}"):
        read(card(sequences))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("B4", "line 4: 'B4' is not an id"),
        ("B4 a title; brand: x", "line 4: the text of item 'B4' begins with 'a title; brand: x', not with a key"),
        ("B4 Title: x", "line 4: the text of item 'B4' begins with 'Title: x', not with a key"),
        ("B4 title:x", "line 4: the text of item 'B4' begins with 'title:x', not with a key"),
        ("B1 title: x", "line 4: 'B1' has a line already, line 2"),
        ("B4 title: \udcff", "line 4: byte 0xff is not UTF-8"),
    ],
)
def test_a_line_of_an_item_that_cannot_be(card: Callable[..., Path], read: Read, line: str, message: str) -> None:
    with pytest.raises(BadData, match=rf"item_plain_text\.txt, {message}"):
        read(card(items=[*ITEMS, line]))


def test_an_item_without_a_line_is_named(card: Callable[..., Path], read: Read) -> None:
    with pytest.raises(BadData, match=r"item_plain_text\.txt lacks items that have events: 'B3'"):
        read(card(items=ITEMS[1:]))


words = st.text(st.sampled_from("ab;: "), min_size=1, max_size=12).map(str.strip).filter(lambda value: value and value != "na")


@given(values=st.lists(words, min_size=5, max_size=5))
def test_what_was_written_is_read(values: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever blanks, colons and semicolons a value holds."""
    columns = ("title", "brand", "categories", "description", "price")
    path = tmp_path_factory.mktemp("gram") / "items.txt"
    path.write_text("B1 " + "; ".join(f"{name}: {value}" for name, value in zip(columns, values, strict=True)) + "\n", encoding="utf-8")
    reader = load_reader("gram")
    raw = reader.items({"items": path}, reader.options(), columns, {"B1"}, SilentProgress())
    assert raw is not None
    assert {name: column[0] for name, column in raw.columns.items()} == dict(zip(columns, values, strict=True))
