"""Times of every type a file can have, against an independent slow reading; what is no time is refused."""

import csv
import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, BadRequest, TimeKind
from recbench.data import Dataset, make_split, stats
from recbench.tasks import NEXT_ITEM

Write = Callable[..., Path]
Read = Callable[..., Dataset]
START = dt.datetime(2015, 3, 1, tzinfo=dt.UTC)
NEWFOUNDLAND = dt.timezone(dt.timedelta(hours=-3.5))
ITEMS = "abcdef"
FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sequences(dataset: Dataset) -> dict[str, list[str]]:
    events = dataset.interactions
    return {user: dataset.items.item_ids[events[row]].tolist() for row, user in enumerate(dataset.user_ids)}


def slow(rows: Sequence[tuple[str, str, Fraction]]) -> dict[str, list[str]]:
    """Items of each user by full time, the first of equal (user, item, time) kept, ties in the order of the file."""
    users: dict[str, list[tuple[Fraction, int, str]]] = {}
    for number, (user, item, time) in enumerate(rows):
        events = users.setdefault(user, [])
        if (item, time) not in {(known, at) for at, _, known in events}:
            events.append((time, number, item))
    return {user: [item for _, _, item in sorted(events)] for user, events in sorted(users.items())}


def since_1970(microseconds: int) -> Fraction:
    return Fraction(int(START.timestamp())) + Fraction(microseconds, 10**6)


def moment(microseconds: int) -> dt.datetime:
    return START + dt.timedelta(microseconds=microseconds)


WRITTEN: dict[str, tuple[int, Callable[[list[int]], Any]]] = {
    "timestamp[ms]": (1000, lambda us: pa.array([moment(x) for x in us], pa.timestamp("ms"))),
    "timestamp[us]": (1, lambda us: pa.array([moment(x) for x in us], pa.timestamp("us"))),
    "timestamp[ns]": (1, lambda us: pa.array([moment(x) for x in us], pa.timestamp("ns"))),
    "timestamp with a zone": (1, lambda us: pa.array([moment(x) for x in us], pa.timestamp("us", "America/New_York"))),
    "date32": (86_400 * 10**6, lambda us: pa.array([moment(x).date() for x in us], pa.date32())),
    "date64": (86_400 * 10**6, lambda us: pa.array([moment(x).date() for x in us], pa.date64())),
    "quarters as float seconds": (250_000, lambda us: pa.array([float(since_1970(x)) for x in us])),
    "decimal seconds": (1, lambda us: pa.array([Decimal(int(since_1970(x) * 10**6)) / 10**6 for x in us], pa.decimal128(20, 6))),
    "ISO text": (1, lambda us: pa.array([moment(x).isoformat() for x in us])),
    "ISO text of another zone": (1, lambda us: pa.array([moment(x).astimezone(NEWFOUNDLAND).isoformat() for x in us])),
    "a dictionary of ISO text": (1, lambda us: pa.array([moment(x).isoformat(" ") for x in us]).dictionary_encode()),
    "digits as text": (1, lambda us: pa.array([f"{Decimal(int(since_1970(x) * 10**6)) / 10**6:f}" for x in us])),
}  # fmt: skip
EVENTS = st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from(ITEMS), st.integers(0, 12)), min_size=1, max_size=40)


@pytest.mark.parametrize("kind", WRITTEN)
@FEW
@given(events=EVENTS)
def test_order_and_duplicates_follow_the_full_time(tmp_path: Path, read: Read, kind: str, events: list[tuple[str, str, int]]) -> None:
    step, write = WRITTEN[kind]
    users, items, ticks = (list(column) for column in zip(*events, strict=True))
    # Steps of the finest unit that the type holds, so that several lie in one second where it holds fractions.
    times = [tick * step for tick in ticks]
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": write(times)}), tmp_path / "interactions.parquet")
    dataset = read(tmp_path)
    exact = [since_1970(time) for time in times]
    assert sequences(dataset) == slow(list(zip(users, items, exact, strict=True)))
    assert dataset.interactions.time is TimeKind.SECONDS
    assert set(dataset.interactions.timestamp.tolist()) == {time // 1 for time in exact}


@FEW
@given(events=EVENTS, suffix=st.sampled_from(["", "Z", "+02:00", "+0200", "-05", " UTC"]), point=st.sampled_from(".,"))
def test_iso_times_in_csv(tmp_path: Path, read: Read, events: list[tuple[str, str, int]], suffix: str, point: str) -> None:
    hours = {"+02:00": -2, "+0200": -2, "-05": 5}.get(suffix, 0)
    with (tmp_path / "interactions.csv").open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["user_id", "item_id", "timestamp"])
        for user, item, tick in events:
            written = moment(tick * 110_000).strftime("%Y-%m-%dT%H:%M:%S") + f"{point}{tick * 110_000 % 10**6:06d}"
            out.writerow([user, item, written + suffix])
    expected = [(user, item, since_1970(tick * 110_000) + hours * 3600) for user, item, tick in events]
    dataset = read(tmp_path)
    assert sequences(dataset) == slow(expected)
    assert min(dataset.interactions.timestamp) == min(time for _, _, time in expected) // 1


def test_times_below_zero_keep_their_order(tmp_path: Path, read: Read) -> None:
    rows = ["u,d,1500000000.5", "u,c,-0.25", "u,b,-1", "u,a,-1.75"]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    dataset = read(tmp_path)
    assert sequences(dataset) == {"u": ["a", "b", "c", "d"]}
    assert dataset.interactions.timestamp.tolist() == [-2, -1, -1, 1_500_000_000]


def test_times_within_a_second_are_no_ties_to_shuffle(tmp_path: Path, read: Read) -> None:
    times = pa.array([1_500_000_000_900, 1_500_000_000_100, 1_500_000_000_500], pa.timestamp("ms"))
    pq.write_table(pa.table({"user_id": ["u"] * 3, "item_id": ["c", "a", "b"], "timestamp": times}), tmp_path / "interactions.parquet")
    dataset = read(tmp_path)
    assert sequences(dataset) == {"u": ["a", "b", "c"]}
    assert dataset.notes["events out of time order, sorted"] == 1
    assert dataset.notes["events ordered within a second"] == 2
    split = make_split(dataset, NEXT_ITEM.protocol())
    assert split.test.is_tied is None
    assert stats(dataset, split).tied_pairs is None
    with pytest.raises(BadRequest, match="finer than a second, which order 2 events"):
        make_split(dataset, NEXT_ITEM.protocol(ties="shuffle=1"))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2020-02-30", "2020-01-01"], r"holds '2020-02-30', and there is no such day"),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:00:01"], r"with and without a zone, the first without is row 1"),
        (["2020-01-01", "1577836800"], r"numbers such as '1577836800' \(row 1\) and dates such as '2020-01-01' \(row 0\)"),
        (["1577836800", "1_388"], r"holds '1_388' \(row 1\), which is neither a number nor a date"),
        (["2020-01-01", "١٣٨٨٥٣٤٤٠٠"], r"holds strings such as '١٣٨٨٥٣٤٤٠٠' \(row 1\)"),
        (["1577836800", "NaN"], r"1 rows have no timestamp, the first is row 1"),
        (["1577836800", ""], r"1 rows have no timestamp, the first is row 1"),
        (["1577836800", "1e400"], r"holds inf, not a whole number"),
        (["1577836800", "9223372036854775808"], r"holds 9223372036854775808, not a whole number of 64 bits"),
        (["12:00:00", "13:00:00"], r"holds strings such as '12:00:00'"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_is_no_time_is_named(tmp_path: Path, read: Read, kind: str, times: list[str], message: str) -> None:
    if kind == "csv":
        rows = "".join(f"u,{item},{time}\n" for item, time in zip("ab", times, strict=True))
        (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + rows, encoding="utf-8")
    else:
        pq.write_table(pa.table({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": times}), tmp_path / "interactions.parquet")
    with pytest.raises(BadData, match=message) as caught:
        read(tmp_path)
    assert f"interactions.{kind}" in str(caught.value)


@pytest.mark.parametrize("kind", [pa.time32("ms"), pa.duration("ms")])
def test_a_time_of_day_is_no_time(tmp_path: Path, read: Read, kind: pa.DataType) -> None:
    columns = {"user_id": ["u"], "item_id": ["a"], "timestamp": pa.array([5], kind)}
    pq.write_table(pa.table(columns), tmp_path / "interactions.parquet")
    with pytest.raises(BadData, match=r"'timestamp' holds (time32|duration)\[ms\], not whole numbers of seconds"):
        read(tmp_path)


NO_SECONDS = {
    "places from 0": ([0, 1, 2], "each user's time stamps are 0 to n-1"),
    "places from 1": ([1, 2, 3], "each user's time stamps are 1 to n"),
    "days as numbers": ([20140131, 20140201, 20140201], "20140201 are calendar days written as numbers"),
    "days and hours as numbers": ([2014013123, 2014020100, 2014020100], "2014020100 are calendar days with an hour behind them"),
    "days since 1970": ([16_000, 16_001, 16_002], "16002, would lie in January 1970"),
    "minutes since 1970": ([24_000_000, 24_000_001, 24_000_002], "24000002, would lie in October 1970"),
}


@pytest.mark.parametrize("case", NO_SECONDS)
def test_numbers_that_are_no_seconds_are_an_order_only(write_folder: Write, read: Read, case: str) -> None:
    times, reason = NO_SECONDS[case]
    rows = [("u", item, time) for item, time in zip("abc", times, strict=True)]
    dataset = read(write_folder([rows[2], rows[0], rows[1]] if len(set(times)) == 3 else rows))
    assert dataset.interactions.time is TimeKind.POSITION
    assert sequences(dataset) == {"u": ["a", "b", "c"]}
    assert dataset.interactions.timestamp.tolist() == [0, 1, 2]
    assert reason in str(dataset.notes["time"])
    with pytest.raises(BadRequest, match=r"only positions.*no global time"):
        make_split(dataset, NEXT_ITEM.protocol("temporal"))


FOLDER = "[[sources]]\nkind = 'folder'\npath = 'mine'\nfiles = [{ role = 'interactions', name = 'interactions.parquet' }]"


@pytest.mark.parametrize("case", ["places from 0", "places from 1", "days as numbers", "days and hours as numbers"])
def test_a_card_that_calls_them_seconds_is_refused(write_folder: Write, write_card: Write, read: Read, case: str) -> None:
    times, reason = NO_SECONDS[case]
    write_folder([("u", item, time) for item, time in zip("abc", times, strict=True)])
    with pytest.raises(BadData, match=rf"the card says time = 'seconds', but .*{reason}.*time = 'position'"):
        read(write_card(FOLDER, time="seconds"))
    assert sequences(read(write_card(FOLDER, time="detect"))) == {"u": ["a", "b", "c"]}


def test_a_card_may_count_seconds_from_a_day_of_its_own_and_is_told(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 5), ("u", "b", 90)])
    assert "would lie in January 1970" in str(read(write_card(FOLDER)).notes["time"])


@pytest.mark.parametrize("odd", [1_588_687_728_923, 1_588_687_728_923_000, -62_135_596_800])
def test_smaller_units_are_refused(write_folder: Write, read: Read, odd: int) -> None:
    with pytest.raises(BadData, match=rf"{odd} is no number of seconds since 1970"):
        read(write_folder([("u", "a", odd), ("u", "b", 1_500_000_000)]))


def test_numbers_of_too_few_digits_are_refused(tmp_path: Path, read: Read) -> None:
    columns = {"user_id": ["u"] * 3, "item_id": ["a", "b", "c"]}
    late, early = [1_388_534_400.0, 1_388_534_401.0, 1_388_534_402.0], [5.0, 6.25, 16_777_216.0]
    for times, is_refused in ((late, True), (early, False)):
        pq.write_table(pa.table({**columns, "timestamp": pa.array(times, pa.float32())}), tmp_path / "interactions.parquet")
        if is_refused:
            with pytest.raises(BadData, match=r"'timestamp' holds float numbers as large as 1388534400, which are rounded to 128 s"):
                read(tmp_path)
        else:
            assert sequences(read(tmp_path)) == {"u": ["a", "b", "c"]}


def test_an_hour_of_the_day_has_23_as_its_last(write_folder: Write, read: Read) -> None:
    dataset = read(write_folder([("u", "a", 2014013124), ("u", "b", 2014013123)]))
    assert dataset.interactions.time is TimeKind.SECONDS


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_settings_of_a_card_are_finite(write_card: Write, read: Read, value: str) -> None:
    with pytest.raises(BadConfig, match="finite"):
        read(write_card(f"options = {{ x = {value} }}\n{FOLDER}"))
    with pytest.raises(BadConfig, match="finite"):
        read(write_card(f"filters = [{{ kind = 'min-rating', value = {value} }}]\n{FOLDER}"))


def test_the_last_day_of_the_calendar_is_a_date(write_folder: Write, write_card: Write, read: Read) -> None:
    write_folder([("u", "a", 1_500_000_000)])
    assert len(read(write_card(f"filters = [{{ kind = 'dates', last = 9999-12-31 }}]\n{FOLDER}")).user_ids) == 1
