"""Tables of every format against an independent slow reading: types, names, quotes, packings, parts, damage."""

import bz2
import csv
import datetime as dt
import gzip
import io
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, SilentProgress
from recbench.data import Dataset, Finding, check, unpacking
from recbench.data.tables import read_csv
from recbench.tasks import NEXT_ITEM

Write = Callable[..., Path]
Read = Callable[..., Dataset]
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TIME = 1_500_000_000


def sequences(dataset: Dataset) -> dict[str, list[str]]:
    events = dataset.interactions
    return {user: dataset.items.item_ids[events[row]].tolist() for row, user in enumerate(dataset.user_ids)}


def events_parquet(folder: Path, items: Sequence[str] = ("a", "b", "c"), name: str = "interactions.parquet") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"user_id": ["u"] * len(items), "item_id": list(items), "timestamp": [TIME + step for step in range(len(items))]}
    pq.write_table(pa.table(columns), path)
    return path


TITLES = ["A", 'B, of\n"it"', None]


def items_parquet(folder: Path) -> None:
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "title": TITLES}), folder / "items.parquet")


def items_csv(folder: Path, name: str = "items.csv") -> None:
    text = b'item_id,title\na,A\nb,"B, of\n""it"""\nc,\n'
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


def events_csv(folder: Path, name: str = "interactions.csv") -> None:
    text = f"user_id,item_id,timestamp\nu,a,{TIME}\nu,b,{TIME + 1}\nu,c,{TIME + 2}\n".encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


def events_parts(folder: Path) -> None:
    events_parquet(folder / "interactions.parquet", ["a", "b", "c"], "part-0.parquet")


@pytest.mark.parametrize("events", [events_parquet, events_csv, events_parts, lambda folder: events_csv(folder, "interactions.csv.gz")])
@pytest.mark.parametrize("items", [items_parquet, items_csv, lambda folder: items_csv(folder, "items.csv.gz")])
def test_events_and_items_may_be_of_different_formats(
    tmp_path: Path, read: Read, events: Callable[[Path], object], items: Callable[[Path], None]
) -> None:
    events(tmp_path)
    items(tmp_path)
    dataset = read(tmp_path)
    assert sequences(dataset) == {"u": ["a", "b", "c"]}
    assert dataset.items.titles() == TITLES


@pytest.mark.parametrize("name", ["interactions", "interactions.parquet"])
def test_parts_are_read_in_the_order_of_their_names(tmp_path: Path, read: Read, name: str) -> None:
    for part in (10, 2, 1):
        columns = {"user_id": ["u"] * 2, "item_id": [f"i{part}", f"j{part}"], "timestamp": [TIME] * 2}
        (tmp_path / name).mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / name / f"part-{part}.parquet")
    (tmp_path / name / "_SUCCESS").write_text("", encoding="utf-8")
    assert sequences(read(tmp_path)) == {"u": ["i1", "j1", "i2", "j2", "i10", "j10"]}
    events_parquet(tmp_path / name, ["x"], "part-3.parquet")
    assert "x" in sequences(read(tmp_path))["u"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"user_id": ["u"], "item_id": ["a"]}, r"part-1.parquet has other columns than part-0.parquet"),
        ({"user_id": ["u"], "item_id": ["a"], "timestamp": ["noon"]}, r"interactions.parquet: its parts have columns of different types"),
        ({"user_id": ["u"]}, r"part-1.parquet has no column 'item_id'"),
    ],
)
def test_parts_that_do_not_fit_are_named(tmp_path: Path, read: Read, other: dict[str, list[str]], message: str) -> None:
    events_parts(tmp_path)
    pq.write_table(pa.table(other), tmp_path / "interactions.parquet" / "part-1.parquet")
    with pytest.raises(BadData, match=message):
        read(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "day=1/part-0.parquet"])
def test_what_is_no_part_is_named(tmp_path: Path, read: Read, name: str) -> None:
    events_parts(tmp_path)
    odd = tmp_path / "interactions.parquet" / name
    odd.parent.mkdir(exist_ok=True)
    odd.write_bytes(b"")
    with pytest.raises(BadData, match=rf"holds '{name.partition('/')[0]}', which is no parquet file"):
        read(tmp_path)


TYPED = {
    "float": (pa.array([12.5, 12.0, None]), ["12.5", "12", None]),
    "large float": (pa.array([1e20, 1e-7, float("nan")]), ["100000000000000000000", "0.0000001", None]),
    "float32": (pa.array([12.1, 0.3, None], pa.float32()), ["12.1", "0.3", None]),
    "decimal": (pa.array([Decimal("12.50"), Decimal("3.00"), None]), ["12.50", "3.00", None]),
    "int": (pa.array([7, -1, None]), ["7", "-1", None]),
    "bool": (pa.array([True, False, None]), ["true", "false", None]),
    "date": (pa.array([dt.date(2020, 1, 31), None, None]), ["2020-01-31", None, None]),
    "time stamp": (
        pa.array([dt.datetime(2020, 1, 31, 12), dt.datetime(2020, 1, 31, 12, 0, 0, 250_000), None]),
        ["2020-01-31 12:00:00", "2020-01-31 12:00:00.25", None],
    ),
    "zoned": (
        pa.array([dt.datetime(2020, 1, 31, 12, tzinfo=dt.UTC), None, None], pa.timestamp("us", "Europe/Berlin")),
        ["2020-01-31 12:00:00Z", None, None],
    ),
    "list": (pa.array([["Active Life", "Sports & Outdoors"], [], None]), ["Active Life, Sports & Outdoors", None, None]),
    "nested list": (pa.array([[["Beauty", "Bath"], ["Beauty", None, ""]], [None], None]), ["Beauty, Bath", None, None]),
    "list of numbers": (pa.array([[1.5, 2.0], [None], []]), ["1.5, 2", None, None]),
    "fixed list": (pa.array([["x", "y"], None, ["y", "z"]], pa.list_(pa.string(), 2)), ["x, y", None, "y, z"]),
    "dictionary": (pa.array(["x", "y", None]).dictionary_encode(), ["x", "y", None]),
    "dictionary of numbers": (pa.array([1.5, 2.0, None]).dictionary_encode(), ["1.5", "2", None]),
    "nothing": (pa.nulls(3), [None] * 3),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("column", ["categories", "price"])
def test_typed_columns_become_text(tmp_path: Path, read: Read, kind: str, column: str) -> None:
    values, expected = TYPED[kind]
    events_parquet(tmp_path)
    try:
        pq.write_table(pa.table({"item_id": ["a", "b", "c"], column: values}), tmp_path / "items.parquet")
    except pa.ArrowNotImplementedError as error:
        if kind != "fixed list":
            raise
        pytest.skip(f"pyarrow {pa.__version__} cannot write this: {error}")
    found = read(tmp_path).items.columns.get(column)
    assert ([None] * 3 if found is None else found.tolist()) == expected


def test_paragraphs_of_a_description_are_joined_by_blanks(tmp_path: Path, read: Read) -> None:
    events_parquet(tmp_path, ["a"])
    pq.write_table(pa.table({"item_id": ["a"], "description": [["One.", "Two."]]}), tmp_path / "items.parquet")
    assert read(tmp_path).items.columns["description"].tolist() == ["One. Two."]


@pytest.mark.parametrize("values", [[{"x": 1}], [b"bytes"], [dt.timedelta(1)], [[b"bytes"]]])
def test_what_is_no_text_is_named(tmp_path: Path, read: Read, values: list[object]) -> None:
    events_parquet(tmp_path, ["a"])
    pq.write_table(pa.table({"item_id": ["a"], "title": values}), tmp_path / "items.parquet")
    with pytest.raises(BadData, match=r"items.parquet: the column 'title' holds .*cannot be written as text"):
        read(tmp_path)


def twice(folder: Path, kind: str, role: str) -> None:
    """A file that names a column twice."""
    events_csv(folder)
    if kind == "parquet" and role == "interactions":
        (folder / "interactions.csv").unlink()
        table = pa.Table.from_arrays([pa.array(["u"]), pa.array(["a"]), pa.array(["b"])], ["user_id", "item_id", "item_id"])
        pq.write_table(table, folder / "interactions.parquet")
    elif kind == "parquet":
        table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["A"]), pa.array(["B"])], ["item_id", "title", "title"])
        pq.write_table(table, folder / "items.parquet")
    elif role == "interactions":
        (folder / "interactions.csv").write_text("user_id,item_id,item_id\nu,a,b\n", encoding="utf-8")
    else:
        (folder / "items.csv").write_text("item_id,title,title\na,A,B\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("role", "column"), [("interactions", "item_id"), ("items", "title")])
def test_a_column_named_twice_is_refused(tmp_path: Path, read: Read, kind: str, role: str, column: str) -> None:
    twice(tmp_path, kind, role)
    with pytest.raises(BadData, match=rf"{role}.{kind} names the column '{column}' 2 times"):
        read(tmp_path)


def test_unknown_columns_may_share_a_name(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text("x,user_id,x,item_id,\n1,u,2,a,\n1,u,2,b,\n", encoding="utf-8")
    assert sequences(read(tmp_path)) == {"u": ["a", "b"]}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_that_were_split_already_are_refused_by_name(tmp_path: Path, read: Read, kind: str) -> None:
    if kind == "csv":
        (tmp_path / "interactions.csv").write_text("session_id,item_id_list,item_id\ns,a b,c\n", encoding="utf-8")
    else:
        pq.write_table(pa.table({"session_id": ["s"], "item_id_list": ["a b"], "item_id": ["c"]}), tmp_path / "interactions.parquet")
    with pytest.raises(BadData, match=rf"interactions.{kind} was divided .*'item_id_list'.*one row for each event"):
        read(tmp_path)


def test_strings_written_as_views_are_strings(tmp_path: Path, read: Read) -> None:
    ids = {"user_id": pa.array(["u", "u"], pa.string_view()), "item_id": pa.array(["a", "b"], pa.string_view())}
    pq.write_table(pa.table({**ids, "timestamp": [1_500_000_000, 1_500_000_001]}), tmp_path / "interactions.parquet")
    titles = pa.table({"item_id": pa.array(["a", "b"], pa.string_view()), "title": pa.array(["A", None], pa.string_view())})
    pq.write_table(titles, tmp_path / "items.parquet")
    dataset = read(tmp_path)
    assert sequences(dataset) == {"u": ["a", "b"]}
    assert dataset.items.titles() == ["A", None]


def test_blanks_around_the_name_of_a_column_are_shown(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text("user_id, item_id\nu,a\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"it has user_id, ' item_id'\. Did you mean ' item_id'\?"):
        read(tmp_path)


def test_a_misspelt_column_is_offered(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,Item_id\nu,a\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"no column 'item_id'; it has user_id, Item_id. Did you mean 'Item_id'\? Rename"):
        read(tmp_path)


OTHER_NAMES = "userId,movie,day,genre\nu,a,2019-01-31,x\nu,b,2019-02-01,y\nu,c,2019-02-02,y\n"
CARD = """
name = "named"
title = "Columns with names of their own"
terms = "mine"
reader = "csv"
time = "detect"
options = {{ columns = {columns} }}
sources = [{{ kind = "folder", path = "mine" }}]
"""


@pytest.fixture
def other_names(tmp_path: Path) -> Callable[[str], Path]:
    """A card that says what the columns of a folder are called."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "interactions.csv").write_text(OTHER_NAMES, encoding="utf-8")
    (tmp_path / "mine" / "items.csv").write_text("movie,name\na,A\nb,B\nc,C\n", encoding="utf-8")

    def write(columns: str) -> Path:
        (tmp_path / "named.toml").write_text(CARD.format(columns=columns), encoding="utf-8")
        return tmp_path / "named.toml"

    return write


def check_of(card: Path, home: Path) -> tuple[Finding, ...]:
    return check(str(card), data_dir=None, home=home, progress=SilentProgress(), protocol_of=lambda _: NEXT_ITEM.protocol())


def test_what_a_column_may_be_called_is_offered_with_the_line_of_a_card(
    other_names: Callable[[str], Path], tmp_path: Path, read: Read
) -> None:
    other_names("{}")
    with pytest.raises(
        BadData, match=r"Did you mean 'userId'\? .*columns = \{ user_id = \"userId\", item_id = \"movie\", timestamp = \"day\" \}"
    ):
        read(tmp_path / "mine")
    (tmp_path / "mine" / "interactions.csv").write_text("reviewerID,asin\nu,a\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"may be called 'reviewerID' here\. .*item_id = \"asin\" \}"):
        read(tmp_path / "mine")


def test_a_card_says_what_the_columns_are_called(other_names: Callable[[str], Path], tmp_path: Path, read: Read) -> None:
    dataset = read(other_names('{ user_id = "userId", item_id = "movie", timestamp = "day", title = "name" }'))
    assert sequences(dataset) == {"u": ["a", "b", "c"]}
    assert dataset.items.titles() == ["A", "B", "C"]
    columns = '{ user_id = "userId", item_id = "movie" }'
    (_, told, of_items, *_) = check_of(other_names(columns), tmp_path)
    assert told.detail == "interactions.csv: user_id (called userId), item_id (called movie); not read: day (is it timestamp?), genre"
    assert of_items.detail == "items.csv: item_id (called movie); not read: name (is it title?)"
    with pytest.raises(BadData, match=r"no column 'user'; it has userId"):
        read(other_names('{ user_id = "user", item_id = "movie" }'))
    with pytest.raises(BadConfig, match=r"two names stand for the column 'userId'"):
        read(other_names('{ user_id = "userId", item_id = "userId" }'))


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=6)


@FEW
@given(
    rows=st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=8).filter(lambda rows: ["", ""] not in rows),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.sampled_from(["", "\ufeff"]),
    packing=st.sampled_from([None, "gz", "bz2"]),
)
def test_csv_is_read_as_python_reads_it(
    tmp_path: Path, rows: list[list[str]], ending: str, delimiter: str, quoting: int, mark: str, packing: str | None
) -> None:
    text = io.StringIO()
    # Python's writer quotes only the line end that it writes itself, and its own reader takes the others for line ends, too.
    quoting = csv.QUOTE_ALL if any(end in value for row in rows for value in row for end in "\r\n") else quoting
    # The column that nobody asks for keeps a row of two empty values from being a blank line.
    out = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    out.writerows([["a", "b", "0"], *([*row, "0"] for row in rows)])
    data = (mark + text.getvalue()).encode()
    path = tmp_path / f"table.csv{'' if packing is None else '.' + packing}"
    path.write_bytes({None: bytes, "gz": gzip.compress, "bz2": bz2.compress}[packing](data))
    table = read_csv(path, None, columns=("a", "b"), delimiter=delimiter)
    assert list(zip(*table.to_pydict().values(), strict=True)) == [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "text",
    ['a,b\nx,"y', 'a,b\nx,"', 'a,b\nx,"y\nz,w\n', 'a,b\nx,"""', 'a,b\nx,"y""\n', 'a,b\nx,"y\r\nz,w\r\n'],
)
@pytest.mark.parametrize("columns", [None, ("a",)])
def test_quotation_marks_must_be_closed(tmp_path: Path, text: str, columns: tuple[str, ...] | None) -> None:
    with pytest.raises(csv.Error):
        list(csv.reader(io.StringIO(text, newline=""), strict=True))
    (tmp_path / "t.csv").write_bytes(text.encode())
    with pytest.raises(BadData, match=r"t\.csv"):
        read_csv(tmp_path / "t.csv", None, columns=columns)


@pytest.mark.parametrize(
    "text", ['a,b\nx,"y"', 'a,b\nx,""', 'a,b\nx,"y\nz"', 'a,b\nx,""""', "a,b\nx,y", 'a,b\nx,"y"\n\n', 'a,b\nx,y"z', "a,b\nx,"]
)
def test_closed_ones_need_no_line_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    assert list(zip(*read_csv(tmp_path / "t.csv", None).to_pydict().values(), strict=True)) == [tuple(row) for row in rows]


def test_lines_before_the_header_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n\na,b\n\nx,y\n", encoding="utf-8")
    assert read_csv(tmp_path / "t.csv", None).to_pydict() == {"a": ["x"], "b": ["y"]}


@pytest.mark.parametrize("name", ["interactions.csv.gz", "interactions.csv"])
def test_what_swells_beyond_reason_is_refused(tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS_FINE_BYTES", 10_000)
    text = b"user_id,item_id\n" + b"u,a\n" * 100_000
    # Browsers unpack some downloads and leave the name, and the other way round.
    (tmp_path / name).write_bytes(gzip.compress(text))
    with pytest.raises(BadData, match=r"interactions.csv.* is not unpacked: it unpacks to more than [\d,]+ bytes"):
        read(tmp_path)
    monkeypatch.undo()
    assert read(tmp_path).n_interactions == 100_000


def test_a_file_whose_bytes_are_no_text_is_named(tmp_path: Path, read: Read) -> None:
    events_parquet(tmp_path, ["a"])
    pq.write_table(pa.table({"item_id": ["a"], "title": ["Zürich"]}), tmp_path / "items.parquet", compression="none", use_dictionary=False)
    path = tmp_path / "items.parquet"
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xec\x61"))
    with pytest.raises(BadData, match=r"items.parquet: this is not a whole parquet file .*UTF8"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet", "interactions.csv.gz"])
def test_damage_ends_in_a_sentence(tmp_path: Path, read: Read, name: str) -> None:
    if name.endswith("gz"):
        events_csv(tmp_path, name)
    else:
        events_parquet(tmp_path)
        items_parquet(tmp_path)
    path, draw = tmp_path / name, random.Random(15)
    whole = path.read_bytes()
    for _ in range(15):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged[: draw.choice([len(whole), len(whole), draw.randrange(len(whole))])])
        # Anything but a sentence for bad data goes through and fails the test.
        with suppress(BadData):
            assert read(tmp_path).n_interactions > 0


@pytest.mark.parametrize(("bad", "place"), [(b"\xf3", 45), (b"caf\xc3", 48)], ids=["no start of a character", "cut off"])
def test_bytes_that_are_no_utf8_are_refused_in_columns_nobody_reads_too(tmp_path: Path, bad: bytes, place: int) -> None:
    path = tmp_path / "interactions.csv"
    path.write_bytes(b"user_id,item_id,note\nu,a,plain\nu,b,\xc3\xa9t\xc3\xa9" + b"\nu,c," + bad)
    with pytest.raises(BadData, match=rf"interactions.csv is not UTF-8: byte {place} is 0x.*Save the file as UTF-8"):
        read_csv(path, ("user_id", "item_id"), columns=("user_id", "item_id"))


@pytest.mark.parametrize(
    "ids",
    [
        pa.DictionaryArray.from_arrays(pa.array([2, 0, 2], pa.int8()), ["b", "", "a"]),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), ["a", "b", "a"]),
        pa.DictionaryArray.from_arrays(pa.array([2, 1, 2], pa.uint16()), pa.array(["c", "b", "a", "d"], pa.large_string())),
    ],
    ids=["an empty text that no row has", "a text twice", "texts that no row has"],
)
def test_dictionaries_of_ids_mean_their_texts(tmp_path: Path, read: Read, ids: pa.DictionaryArray) -> None:
    pq.write_table(
        pa.table({"user_id": ["u"] * 3, "item_id": ids, "timestamp": [TIME, TIME + 1, TIME + 2]}), tmp_path / "interactions.parquet"
    )
    assert sequences(read(tmp_path)) == {"u": ids.cast(pa.large_string()).to_pylist()}


def test_an_empty_id_of_a_dictionary_is_refused_with_its_row(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id,timestamp\nu,a,{TIME}\nu,,{TIME + 1}\n", encoding="utf-8")
    with pytest.raises(BadData, match="1 rows have no item_id, the first is row 1"):
        read(tmp_path)
