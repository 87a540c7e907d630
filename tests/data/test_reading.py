"""From files to a data set: numbering, order, filters, duplicates, and every kind of bad input."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbench.core import BadConfig, BadData, TimeKind
from recbench.data import Dataset

Write = Callable[..., Path]
Read = Callable[..., Dataset]
FOLDER = "[[sources]]\nkind = 'folder'\npath = 'mine'\nfiles = [{ role = 'interactions', name = 'interactions.parquet' }]"


def sequences(dataset: Dataset) -> dict[str, list[str]]:
    """Item ids of each user, in order."""
    events = dataset.interactions
    return {user: dataset.items.item_ids[events[row]].tolist() for row, user in enumerate(dataset.user_ids)}


def test_rows_are_numbered_by_sorted_id(write_folder: Write, read: Read) -> None:
    dataset = read(write_folder([("10", "b", 10**9 + 50), ("9", "B", 10**9 + 40), ("10", "a", 10**9 + 60)]))
    assert dataset.user_ids.tolist() == ["10", "9"]
    assert dataset.items.item_ids.tolist() == ["B", "a", "b"]
    assert sequences(dataset) == {"10": ["b", "a"], "9": ["B"]}
    assert dataset.interactions.item.dtype == np.int32
    assert dataset.interactions.offsets.tolist() == [0, 2, 3]
    assert dataset.interactions.timestamp.tolist() == [10**9 + 50, 10**9 + 60, 10**9 + 40]


def test_time_order_with_ties_in_source_order(write_folder: Write, read: Read) -> None:
    dataset = read(write_folder([("u", "z", 20), ("u", "c", 10), ("u", "a", 10), ("u", "b", 10)]))
    assert sequences(dataset) == {"u": ["c", "a", "b", "z"]}
    assert dataset.notes["events out of time order, sorted"] == 1


def test_a_position_column_breaks_ties(write_folder: Write, read: Read) -> None:
    rows = [("u", "a", 10), ("u", "b", 10), ("u", "c", 5)]
    dataset = read(write_folder(rows, extra={"position": pa.array([2, 1, 0])}))
    assert sequences(dataset) == {"u": ["c", "b", "a"]}


def test_time_is_detected_for_own_data(write_folder: Write, read: Read) -> None:
    position = read(write_folder([("u", "a", 0), ("v", "b", 1), ("u", "b", 1), ("v", "a", 0)], name="positions"))
    assert position.interactions.time is TimeKind.POSITION
    assert position.card.time == "position"
    assert str(position.notes["time"]).startswith("position")
    seconds = read(write_folder([("u", "a", 10**9), ("u", "b", 10**9 + 1)], name="seconds"))
    assert seconds.interactions.time is TimeKind.SECONDS
    assert str(seconds.notes["time"]).startswith("seconds")


def test_own_csv_without_times(tmp_path: Path, read: Read) -> None:
    folder = tmp_path / "My data (2)"
    folder.mkdir()
    (folder / "interactions.csv").write_text("user_id,item_id,colour\n007,b,red\n007,a,\n", encoding="utf-8")
    (folder / "items.csv").write_text('item_id,title,unknown\na,"One, or\ntwo",x\nb,,y\nc,NA,z\n', encoding="utf-8")
    dataset = read(folder)
    assert dataset.card.name == "My-data--2-"
    assert dataset.interactions.time is TimeKind.NONE
    assert sequences(dataset) == {"007": ["b", "a"]}
    assert dataset.interactions.timestamp.tolist() == [0, 0]
    assert dataset.items.columns.keys() == {"title"}
    assert dataset.items.titles() == ["One, or\ntwo", None, "NA"]
    assert dataset.notes["items without events"] == 1


def test_catalogue_of_the_table_or_of_the_events(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5), ("u", "c", 9)], {"item_id": ["c", "b", "a"], "title": ["C", "B", " "], "price": [None, None, None]})
    source = FOLDER.replace("interactions.parquet' }]", "interactions.parquet' }, { role = 'items', name = 'items.parquet' }]")
    table = read(write_card(f"catalogue = 'table'\n{source}"))
    assert table.items.item_ids.tolist() == ["a", "b", "c"]
    assert table.items.titles() == [None, "B", "C"]
    assert set(table.items.columns) == {"title"}
    events = read(write_card(f"catalogue = 'events'\n{source}"))
    assert events.items.item_ids.tolist() == ["a", "c"]
    assert events.notes["items without events left out"] == 1
    assert sequences(events) == sequences(table) == {"u": ["a", "c"]}


def test_leaking_columns_are_off_unless_asked_for(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5)], {"item_id": ["a"], "title": ["A"], "categories": ["tag"], "also_bought": ["b"]})
    source = FOLDER.replace("interactions.parquet' }]", "interactions.parquet' }, { role = 'items', name = 'items.parquet' }]")
    leaks = "leaking_columns = ['categories', 'also_bought']\n"
    assert set(read(write_card(leaks + source)).items.columns) == {"title"}
    assert set(read(write_card(leaks + "read_leaking_columns = true\n" + source)).items.columns) == {"title", "categories", "also_bought"}


def test_duplicate_events_follow_the_card(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5), ("u", "b", 5), ("u", "a", 5), ("u", "a", 9)])
    dropped = read(write_card(FOLDER))
    assert sequences(dropped) == {"u": ["a", "b", "a"]}
    assert dropped.notes["duplicate events dropped"] == 1
    assert sequences(read(write_card(f"duplicates = 'keep'\n{FOLDER}"))) == {"u": ["a", "b", "a", "a"]}


ROWS = [
    ("u", "a", 86_400 * 10, 5.0),
    ("u", "b", 86_400 * 11, 2.0),
    ("u", "a", 86_400 * 12, 4.0),
    ("v", "a", 86_400 * 13 - 1, 5.0),
    ("v", "c", 86_400 * 13, 3.0),
    ("w", "b", 86_400 * 14, 5.0),
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("{ kind = 'min-rating', value = 4 }", {"u": ["a", "a"], "v": ["a"], "w": ["b"]}),
        ("{ kind = 'dates', first = 1970-01-12, last = 1970-01-13 }", {"u": ["b", "a"], "v": ["a"]}),
        ("{ kind = 'dates', first = 1970-01-14 }", {"v": ["c"], "w": ["b"]}),
        ("{ kind = 'first-per-pair' }", {"u": ["a", "b"], "v": ["a", "c"], "w": ["b"]}),
        ("{ kind = 'min-counts', user = 2, item = 2 }", {"u": ["a", "b", "a"], "v": ["a"]}),
        ("{ kind = 'min-counts', user = 2, item = 2 }, { kind = 'min-counts', user = 2 }", {"u": ["a", "b", "a"]}),
        ("{ kind = 'k-core', user = 2, item = 2 }", {"u": ["a", "a"]}),
        ("{ kind = 'first-per-pair' }, { kind = 'k-core', user = 1, item = 2 }", {"u": ["a", "b"], "v": ["a"], "w": ["b"]}),
    ],
)
def test_filters(write_folder: Write, write_card: Write, read: Read, filters: str, expected: dict[str, list[str]]) -> None:
    write_folder([row[:3] for row in ROWS], extra={"rating": pa.array([row[3] for row in ROWS])})
    dataset = read(write_card(f"filters = [{filters}]\n{FOLDER}"))
    assert sequences(dataset) == expected
    removed = sum(int(count) for what, count in dataset.notes.items() if what.startswith("removed by filter"))
    assert removed == len(ROWS) - dataset.n_interactions


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.decimal128(4, 2)])
@pytest.mark.parametrize(("limit", "kept"), [(4.1, ["b", "c"]), (4.2, ["c"]), (4.11, ["c"])])
def test_a_limit_of_ratings_is_as_precise_as_the_source(
    write_folder: Write, write_card: Write, read: Read, kind: pa.DataType, limit: float, kept: list[str]
) -> None:
    ratings = [Decimal("3.9"), Decimal("4.1"), Decimal("4.3")]
    values = ratings if pa.types.is_decimal(kind) else list(map(float, ratings))
    write_folder([("u", "a", 5), ("u", "b", 6), ("u", "c", 9)], extra={"rating": pa.array(values, kind)})
    assert sequences(read(write_card(f"filters = [{{ kind = 'min-rating', value = {limit} }}]\n{FOLDER}"))) == {"u": kept}


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32(), pa.float64()])
def test_a_limit_just_above_a_rating_drops_it(write_folder: Write, write_card: Write, read: Read, kind: pa.DataType) -> None:
    write_folder([("u", "a", 5), ("u", "b", 9)], extra={"rating": pa.array([3, 4], kind)})
    assert sequences(read(write_card(f"filters = [{{ kind = 'min-rating', value = 3.000000001 }}]\n{FOLDER}"))) == {"u": ["b"]}


def test_ready_folders_are_not_filtered_again(write_folder: Write, write_card: Write, read: Read, tmp_path: Path) -> None:
    write_folder([("u", "a", 5), ("u", "b", 6)], name="data/mine")
    card = write_card("filters = [{ kind = 'k-core', user = 5, item = 5 }]")
    assert read(card, data_dir=tmp_path / "data").n_interactions == 2


def test_nothing_left_names_the_filter(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5), ("u", "b", 6)])
    with pytest.raises(BadData, match=r"filter 2 \(k-core user=5, item=5\) left none of 2 events"):
        read(write_card(f"filters = [{{ kind = 'first-per-pair' }}, {{ kind = 'k-core', user = 5, item = 5 }}]\n{FOLDER}"))


def test_filters_that_lack_their_column(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5)])
    with pytest.raises(BadData, match="min-rating needs ratings"):
        read(write_card(f"filters = [{{ kind = 'min-rating', value = 4 }}]\n{FOLDER}"))


def test_empty_file(write_folder: Write, read: Read) -> None:
    with pytest.raises(BadData, match=r"interactions.parquet: there is no event"):
        read(write_folder([]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": ["u"], "timestamp": [1]}, r"no column 'item_id'; it has user_id, timestamp"),
        ({"user_id": [1.5], "item_id": ["a"], "timestamp": [1]}, r"'user_id' holds double"),
        ({"user_id": ["u"], "item_id": [True], "timestamp": [1]}, r"'item_id' holds bool"),
        ({"user_id": ["u", None], "item_id": ["a", "b"], "timestamp": [1, 2]}, r"1 rows have no user_id, the first is row 1"),
        ({"user_id": ["u", "v"], "item_id": ["", "b"], "timestamp": [1, 2]}, r"1 rows have no item_id, the first is row 0"),
        ({"user_id": ["u"], "item_id": ["a"], "timestamp": ["noon"]}, r"'timestamp' holds string"),
        ({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": [1, None]}, r"1 rows have no timestamp, the first is row 1"),
        ({"user_id": ["u"], "item_id": ["a"], "position": [1.5]}, r"'position' holds 1.5, not a whole number"),
        ({"user_id": ["u"], "item_id": ["a"], "timestamp": [float("inf")]}, r"'timestamp' holds inf"),
        ({"user_id": ["u"], "item_id": ["a"], "timestamp": [1], "rating": ["good"]}, r"'rating' holds string"),
    ],
)
def test_bad_interactions_are_named(tmp_path: Path, read: Read, columns: dict[str, list[object]], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "interactions.parquet")
    with pytest.raises(BadData, match=message) as caught:
        read(tmp_path)
    assert "interactions.parquet" in str(caught.value)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"item_id": ["a"]}, r"items.parquet lacks items that have events: 'b', 'c'. Add"),
        ({"item_id": ["a", "b", "c", "b"]}, r"items.parquet: item ids stand there twice: 'b'"),
        ({"item_id": ["a", None, "c"]}, r"items.parquet: 1 rows have no item_id"),
        ({"title": ["a", "b", "c"]}, r"items.parquet has no column 'item_id'"),
        ({"item_id": ["a", "b", "c"], "title": [b"1", b"2", b"3"]}, r"'title' holds binary, which cannot be written as text"),
    ],
)
def test_bad_items_are_named(write_folder: Write, read: Read, items: dict[str, list[object]], message: str) -> None:
    with pytest.raises(BadData, match=message):
        read(write_folder([("u", "a", 1), ("u", "b", 2), ("u", "c", 3)], items))


def test_a_truncated_parquet_is_named(write_folder: Write, read: Read) -> None:
    folder = write_folder([("u", "a", 1), ("u", "b", 2)])
    path = folder / "interactions.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadData, match=r"interactions.parquet: this is not a whole parquet file"):
        read(folder)


def test_times_too_large_for_64_bits_are_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b,99999999999999999999999\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"'timestamp' holds 9{23}, not a whole number of 64 bits"):
        read(tmp_path)


def test_a_quoted_header_leaves_texts_as_they_are_written(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text('"user_id","item_id"\nu,007\n', encoding="utf-8")
    (tmp_path / "items.csv").write_text('"item_id","title","price"\n007,0042,9.50\n', encoding="utf-8")
    items = read(tmp_path).items
    assert (list(items.item_ids), items.columns["title"][0], items.columns["price"][0]) == (["007"], "0042", "9.50")


def test_a_ragged_csv_is_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"interactions.csv: not a table with ','"):
        read(tmp_path)


def test_positions_must_differ(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 0), ("u", "b", 3), ("u", "c", 3)])
    with pytest.raises(BadData, match=r"user 'u' has two events at position 3"):
        read(write_card(FOLDER, time="position"))


def test_gaps_in_positions_are_closed(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 7), ("u", "b", 3)])
    dataset = read(write_card(FOLDER, time="position"))
    assert sequences(dataset) == {"u": ["b", "a"]}
    assert dataset.interactions.timestamp.tolist() == [0, 1]


def test_integer_ids_and_datetimes_are_understood(tmp_path: Path, read: Read) -> None:
    times = np.array(["2020-01-02T00:00:01", "2020-01-01T00:00:00"], dtype="datetime64[ms]")
    pq.write_table(pa.table({"user_id": [1, 1], "item_id": [10, 9], "timestamp": times}), tmp_path / "interactions.parquet")
    dataset = read(tmp_path)
    assert sequences(dataset) == {"1": ["9", "10"]}
    assert dataset.interactions.timestamp.tolist() == [1577836800, 1577923201]


def test_milliseconds_are_no_seconds(write_folder: Write, read: Read) -> None:
    with pytest.raises(BadData, match=r"1588687728923 is no number of seconds.*Convert"):
        read(write_folder([("u", "a", 1588687728923), ("u", "b", 5)]))


def test_a_card_for_a_ready_folder(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 10**9), ("u", "b", 10**9 + 1)], {"item_id": ["a", "b"], "title": ["A", "B"]})
    dataset = read(write_card("[[sources]]\nkind = 'folder'\npath = 'mine'", time="detect"))
    assert dataset.items.titles() == ["A", "B"]
    assert dataset.interactions.time is TimeKind.SECONDS


def test_a_card_that_lacks_a_file_the_reader_needs(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5)])
    with pytest.raises(BadConfig, match=r"'amazon-2014' needs a file of role 'reviews'; the source has interactions"):
        read(write_card(FOLDER, reader="amazon-2014"))


def test_a_role_is_shown_on_one_line(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "events.csv").write_text("user_id,item_id\nu,a\n", encoding="utf-8")
    files = 'files = [{ role = "line\\nbreak", name = "events.csv" }]'
    with pytest.raises(BadConfig, match=r"the source has line\\nbreak\."):
        read(write_card(f"[[sources]]\nkind = 'folder'\npath = '.'\n{files}", reader="csv"))


def test_times_that_the_card_promises_must_be_there(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\n", encoding="utf-8")
    with pytest.raises(BadData, match="the source has no time stamps"):
        read(write_card("[[sources]]\nkind = 'folder'\npath = '.'", reader="csv"))


def test_save_and_open(write_folder: Write, read: Read, tmp_path: Path) -> None:
    dataset = read(write_folder([("ü", "a", 5), ("v", "ñ", 6)], {"item_id": ["a", "ñ"], "title": ["Käse ☕", None]}))
    dataset.save(tmp_path / "saved")
    opened = Dataset.open(tmp_path / "saved")
    assert opened.card == dataset.card
    assert opened.notes == dataset.notes
    assert sequences(opened) == sequences(dataset)
    assert opened.items.titles() == ["Käse ☕", None]
    assert opened.interactions.time is dataset.interactions.time
    assert isinstance(opened.interactions.item, np.memmap)
    (tmp_path / "saved" / "interactions.item.npy").write_bytes(b"short")
    with pytest.raises(BadData, match=r"interactions.item.npy cannot be read"):
        Dataset.open(tmp_path / "saved")
    (tmp_path / "saved" / "user_ids.utf8.npy").unlink()
    with pytest.raises(BadData):
        Dataset.open(tmp_path / "saved")
