"""Real times beside positions: they reach train part and histories, and move nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import UNKNOWN_TIME, BadData, BadRequest, Histories, Interactions, SilentProgress, TimeKind
from recbench.data import Dataset, Split, locate, make_split, read_dataset
from recbench.tasks import NEXT_ITEM

Write = Callable[..., Path]
Read = Callable[..., Dataset]
DAY = 86_400
FIRST = 1_400_000_000 - 1_400_000_000 % DAY
ROWS = [("v", "b", 0), ("u", "c", 2), ("u", "a", 0), ("u", "b", 1), ("u", "a", 3), ("v", "c", 1)]
TIMES = [FIRST, FIRST + 2 * DAY, FIRST + 5 * DAY, None, FIRST + 2 * DAY, FIRST + DAY]


def with_times(write_folder: Write, times: Sequence[object], kind: pa.DataType | None = None) -> Path:
    return write_folder(ROWS, extra={"unix_time": pa.array(times, kind or pa.int64())})


def test_positions_order_and_unix_time_tells_when(write_folder: Write, read: Read) -> None:
    dataset = read(with_times(write_folder, TIMES))
    events = dataset.interactions
    assert events.time is TimeKind.POSITION
    assert events.timestamp.tolist() == [0, 1, 2, 3, 0, 1]
    assert events.seconds is not None
    assert events.seconds.tolist() == [FIRST + 5 * DAY, UNKNOWN_TIME, FIRST + 2 * DAY, FIRST + 2 * DAY, FIRST, FIRST + DAY]
    assert dataset.notes["real times"] == "unix_time has them for 5 of 6 events"


def test_train_part_and_histories_get_their_times(write_folder: Write, read: Read, tmp_path: Path) -> None:
    make_split(read(with_times(write_folder, TIMES)), NEXT_ITEM.protocol()).save(tmp_path / "split")
    split = Split.open(tmp_path / "split")
    assert split.train.seconds is not None
    assert split.train.seconds.tolist() == [FIRST + 5 * DAY, UNKNOWN_TIME, FIRST, FIRST + DAY]
    queries = split.test.queries(split.user_ids)
    assert queries.timestamp is not None
    assert queries.timestamp.tolist() == [FIRST + 5 * DAY, UNKNOWN_TIME, FIRST + 2 * DAY]
    taken, untimed = split.train.take([1, 0]), replace(split.train, unix_time=None)
    assert taken.seconds is not None
    assert taken.seconds.tolist() == [FIRST, FIRST + DAY, FIRST + 5 * DAY, UNKNOWN_TIME]
    assert untimed.seconds is None


def test_times_move_nothing(write_folder: Write, read: Read) -> None:
    plain = make_split(read(write_folder(ROWS)), NEXT_ITEM.protocol())
    dataset = read(with_times(write_folder, TIMES))
    timed = make_split(dataset, NEXT_ITEM.protocol())
    assert plain.train.seconds is None
    assert plain.test.timestamp is None
    assert timed.fingerprints == plain.fingerprints
    # The last event of u and the one before it share a day, which is no tie: their order is known.
    assert timed.test.is_tied is None
    with pytest.raises(BadRequest, match="ties are unknown"):
        make_split(dataset, NEXT_ITEM.protocol(ties="shuffle=1"))
    with pytest.raises(BadRequest, match="no global time"):
        make_split(read(write_folder(ROWS)), NEXT_ITEM.protocol("temporal"))


def test_seconds_that_order_events_are_the_times(write_folder: Write, read: Read) -> None:
    rows = [("u", item, FIRST + place) for place, item in enumerate("abc")]
    events = read(write_folder(rows, extra={"unix_time": pa.array([FIRST + 9 * DAY] * 3)})).interactions
    assert events.unix_time is None
    assert events.seconds is not None
    assert events.seconds.tolist() == [FIRST, FIRST + 1, FIRST + 2]


WRITTEN = {
    "floats with nan": pa.array([FIRST, float("nan"), FIRST + 2 * DAY], pa.float64()),
    "text": pa.array([str(FIRST), " NaN", f"{FIRST + 2 * DAY}.75"]),
    "dates as text": pa.array(["2014-05-13", None, "2014-05-15"]),
    "time stamps": pa.array([FIRST * 1000, None, (FIRST + 2 * DAY) * 1000], pa.timestamp("ms")),
    "a dictionary": pa.array([FIRST, None, FIRST + 2 * DAY], pa.int64()).dictionary_encode(),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_it_may_be_written_like_a_timestamp_and_miss_values(write_folder: Write, read: Read, case: str) -> None:
    events = read(write_folder([("u", "a", 0), ("u", "b", 1), ("u", "c", 2)], extra={"unix_time": WRITTEN[case]})).interactions
    assert events.seconds is not None
    assert events.seconds.tolist() == [FIRST, UNKNOWN_TIME, FIRST + 2 * DAY]


def test_csv_leaves_a_missing_one_out(tmp_path: Path, read: Read) -> None:
    lines = ["user_id,item_id,timestamp,unix_time", f"u,a,0,{FIRST}", "u,b,1,", f"u,c,2,{FIRST + DAY}"]
    (tmp_path / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    events = read(tmp_path).interactions
    assert events.seconds is not None
    assert events.seconds.tolist() == [FIRST, UNKNOWN_TIME, FIRST + DAY]


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.null()])
def test_a_column_without_a_value_is_none(write_folder: Write, read: Read, kind: pa.DataType) -> None:
    dataset = read(with_times(write_folder, [None] * len(ROWS), kind))
    assert dataset.interactions.seconds is None
    assert "real times" not in dataset.notes


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([(FIRST + place) * 1000 for place in range(6)], "Convert milliseconds to seconds"),
        ([0, 1, 2, 3, 4, None], r"the column 'unix_time' ends with 4, which is no time in seconds since 1970.*another name"),
        ([2014010100 + place for place in range(6)], r"the column 'unix_time' ends with 2014010105"),
    ],
)
def test_what_is_no_time_is_refused(write_folder: Write, read: Read, times: list[int | None], message: str) -> None:
    with pytest.raises(BadData, match=message):
        read(with_times(write_folder, times))


def test_an_unreadable_one_is_named_by_its_row_in_the_file(write_folder: Write, read: Read) -> None:
    with pytest.raises(BadData, match=r"'unix_time' holds 'noon' \(row 4\), which is neither a number nor a date"):
        read(with_times(write_folder, [None, str(FIRST), None, str(FIRST), "noon", str(FIRST)], pa.string()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=6), st.data())
def test_times_stay_with_their_events(lists: list[list[int]], data: st.DataObject) -> None:
    packed = Histories.from_lists(lists)
    # Each event's time says which event it is.
    seconds = np.arange(len(packed.item), dtype=np.int64) * 10 + packed.item
    events = Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), 10, TimeKind.POSITION, seconds)
    taken = events.take(data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)))
    assert taken.seconds is not None
    assert (taken.seconds % 10).tolist() == taken.item.tolist()


# Fingerprints of the test parts before times were read.
REAL = {
    "beauty": (287, 31, "36332b6fb5503a8ba5e6bc09d07b1d0d8f2dbacaee7837569e172802dae2bbdc"),
    "games": (1_749, 5, "4646c9ca7c6e6549f5d4ec07a3cafe247961aa97bf35d68c7415cb873134fa76"),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_times(name: str, real_data: Path, tmp_path: Path) -> None:
    n_missing, n_without_any, fingerprint = REAL[name]
    progress = SilentProgress()
    dataset = read_dataset(locate(name, data_dir=real_data, home=tmp_path, progress=progress), progress)
    events = dataset.interactions
    assert events.time is TimeKind.POSITION
    assert events.seconds is not None
    is_known = events.seconds != UNKNOWN_TIME
    assert np.count_nonzero(~is_known) == n_missing
    user = events.row_of_entry()
    assert len(dataset.user_ids) - len(np.unique(user[is_known])) == n_without_any
    # Events of one user never go back in time.
    same_user = user[is_known][1:] == user[is_known][:-1]
    assert (np.diff(events.seconds[is_known])[same_user] >= 0).all()
    table = pq.read_table(real_data / name / "interactions.parquet").slice(0, 1_000).to_pylist()
    row_of_user, row_of_item = ({key: row for row, key in enumerate(ids)} for ids in (dataset.user_ids, dataset.items.item_ids))
    for event in table:
        at = events.offsets[row_of_user[event["user_id"]]] + event["timestamp"]
        assert events.item[at] == row_of_item[event["item_id"]]
        assert events.seconds[at] == (UNKNOWN_TIME if event["unix_time"] is None else event["unix_time"])
    assert make_split(dataset, NEXT_ITEM.protocol()).fingerprints.test == fingerprint
