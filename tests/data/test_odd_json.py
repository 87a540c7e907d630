"""Lines of JSON that are valid and odd: every reader of reviews and metadata reads them right or names them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadData
from recbench.data import Dataset

Write = Callable[..., Path]
Read = Callable[..., Dataset]
KEYS = {
    "amazon-2014": ("reviewerID", "asin", "unixReviewTime", "overall"),
    "amazon-2018": ("reviewerID", "asin", "unixReviewTime", "overall"),
    "amazon-2023": ("user_id", "parent_asin", "timestamp", "rating"),
    "yelp": ("user_id", "business_id", "date", "stars"),
}
TIMES: dict[str, object] = {"amazon-2023": 1_500_000_000_250, "yelp": "2017-07-14 02:40:00"}


@pytest.fixture
def read_lines(tmp_path: Path, write_card: Write, read: Read) -> Callable[..., Dataset]:
    """Writes reviews and metadata as lines and reads them."""

    def read_it(reader: str, reviews: list[str], metadata: list[str] | None = None) -> Dataset:
        # A byte order mark, as some editors leave it.
        (tmp_path / "reviews.json").write_text("\n".join(reviews), encoding="utf-8-sig")
        files = "{ role = 'reviews', name = 'reviews.json' }"
        if metadata is not None:
            (tmp_path / "metadata.json").write_text("\n".join(metadata), encoding="utf-8-sig")
            role = "businesses" if reader == "yelp" else "metadata"
            files += f", {{ role = '{role}', name = 'metadata.json' }}"
        card = f"catalogue = 'events'\n[[sources]]\nkind = 'folder'\npath = '.'\nfiles = [{files}]\n"
        return read(write_card(card, reader=reader))

    return read_it


def review(reader: str, **changes: object) -> str:
    values = {"user": "u", "item": "a", "time": TIMES.get(reader, 1_500_000_000), "rating": 4.5} | changes
    return json.dumps(dict(zip(KEYS[reader], values.values(), strict=True)))


@pytest.mark.parametrize("reader", KEYS)
def test_numbers_are_ids_and_anything_else_is_not(read_lines: Callable[..., Dataset], reader: str) -> None:
    assert read_lines(reader, [review(reader, user=7)]).user_ids.tolist() == ["7"]
    for odd in (True, ["u"], {"id": "u"}):
        with pytest.raises(BadData, match=r"reviews.json, line 2: .* is neither text nor a number"):
            read_lines(reader, [review(reader), review(reader, user=odd)])


@pytest.mark.parametrize("reader", KEYS)
def test_halves_of_surrogates_are_no_ids(read_lines: Callable[..., Dataset], reader: str) -> None:
    with pytest.raises(BadData, match=r"reviews.json, line 2: an id holds half of a surrogate pair"):
        read_lines(reader, [review(reader), review(reader, item="\ud800")])


@pytest.mark.parametrize("reader", KEYS)
def test_halves_of_surrogates_are_no_times(read_lines: Callable[..., Dataset], reader: str) -> None:
    with pytest.raises(BadData, match=r"reviews.json, line 2: the time holds half of a surrogate pair"):
        read_lines(reader, [review(reader), review(reader, time="\ud800")])


@pytest.mark.parametrize("reader", KEYS)
def test_an_escape_within_a_time_does_not_cut_it_off(read_lines: Callable[..., Dataset], reader: str) -> None:
    written = str(TIMES.get(reader, 1_500_000_000))
    line = review(reader, time="@").replace("@", written[:-1] + f"\\u00{ord(written[-1]):x}")
    assert read_lines(reader, [line]).interactions.timestamp.tolist() == [1_500_000_000]


@pytest.mark.parametrize("n_packed", [1, 2, 3, 100])
def test_times_are_packed_while_they_are_read(read_lines: Callable[..., Dataset], n_packed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.data.lines._TIMES_AT_A_TIME", n_packed)
    # Arrow makes no number of the third, NumPy does.
    rows = [review("amazon-2018", item=item, time=time) for item, time in (("d", 40), ("c", "30"), ("b", " +20"), ("a", 10))]
    dataset = read_lines("amazon-2018", rows)
    assert dataset.items.item_ids[dataset.interactions[0]].tolist() == ["a", "b", "c", "d"]
    assert dataset.interactions.timestamp.tolist() == [10, 20, 30, 40]
    with pytest.raises(BadData, match=r"event 4: unixReviewTime = 'soon' is not a whole number"):
        read_lines("amazon-2018", [*rows[:3], review("amazon-2018", time="soon")])


@pytest.mark.parametrize("reader", [name for name in KEYS if name != "yelp"])
@pytest.mark.parametrize("time", [10**30, "soon", 1.5, "0x1F"])
def test_times_are_whole_numbers(read_lines: Callable[..., Dataset], reader: str, time: object) -> None:
    with pytest.raises(BadData, match=r"event 2: .* is not a whole number"):
        read_lines(reader, [review(reader), review(reader, time=time)])


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": 5..0}', '"text"', "\x00"])
@pytest.mark.parametrize("reader", KEYS)
def test_what_is_no_object_is_named(read_lines: Callable[..., Dataset], reader: str, line: str) -> None:
    with pytest.raises(BadData, match=r"reviews.json, line 2"):
        read_lines(reader, [review(reader), line])


def described(reader: str, **fields: Any) -> str:
    row = {"asin": "a", "parent_asin": "a", "business_id": "a", **fields}
    return repr(row) if reader == "amazon-2014" else json.dumps(row)


CATEGORIES = {"amazon-2014": "categories", "amazon-2018": "category", "amazon-2023": "categories", "yelp": "categories"}


@pytest.mark.parametrize("reader", KEYS)
@pytest.mark.parametrize(
    ("value", "expected"), [("Beauty", "Beauty"), (["Beauty", "Bath"], "Beauty, Bath"), (5, "5"), (None, None), ([], None)]
)
def test_categories_of_any_shape(read_lines: Callable[..., Dataset], reader: str, value: object, expected: str | None) -> None:
    dataset = read_lines(reader, [review(reader)], [described(reader, **{CATEGORIES[reader]: value})])
    column = dataset.items.columns.get("categories")
    assert (None if column is None else column[0]) == expected


@pytest.mark.parametrize("reader", KEYS)
def test_texts_of_any_shape(read_lines: Callable[..., Dataset], reader: str) -> None:
    title = "name" if reader == "yelp" else "title"
    rows = [described(reader, **{title: "Cr\ud800me"}), described(reader, asin=["a"], parent_asin={"x": 1}, business_id=[1], related=5)]
    assert read_lines(reader, [review(reader)], rows).items.titles() == ["Cr\ufffdme"]


def test_milliseconds_order_events_of_a_second_and_tell_duplicates_apart(read_lines: Callable[..., Dataset]) -> None:
    reader, start = "amazon-2023", 1_500_000_000_000
    rows = [("b", 900), ("a", 100), ("b", 500), ("a", 100)]
    dataset = read_lines(reader, [review(reader, item=item, time=start + ms) for item, ms in rows])
    assert dataset.items.item_ids[dataset.interactions[0]].tolist() == ["a", "b", "b"]
    assert dataset.notes["duplicate events dropped"] == 1


def test_fractions_of_yelp_times_count(read_lines: Callable[..., Dataset]) -> None:
    rows = [review("yelp", item=item, time=f"2019-01-01 10:00:00.{part}") for item, part in (("b", 75), ("a", 25), ("c", 9))]
    dataset = read_lines("yelp", rows)
    assert dataset.items.item_ids[dataset.interactions[0]].tolist() == ["a", "b", "c"]
