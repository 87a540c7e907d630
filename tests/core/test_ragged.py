import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import Histories, Ragged

LISTS = st.lists(st.lists(st.integers(0, 1000), max_size=12), max_size=30)


@given(LISTS)
def test_packing_keeps_every_list(lists: list[list[int]]) -> None:
    packed = Histories.from_lists(lists)
    assert [packed[row].tolist() for row in range(len(packed))] == lists
    assert packed.lengths.tolist() == [len(row) for row in lists]


@given(LISTS, st.data())
def test_take_gives_the_lists_in_the_order_asked_for(lists: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10)) if lists else []
    taken = Histories.from_lists(lists).take(rows)
    assert [taken[place].tolist() for place in range(len(taken))] == [lists[row] for row in rows]


@given(LISTS, st.integers(0, 15))
def test_tail_keeps_the_newest(lists: list[list[int]], n: int) -> None:
    tail = Histories.from_lists(lists).tail(n)
    assert [tail[row].tolist() for row in range(len(tail))] == [row[max(0, len(row) - n) :] for row in lists]


@given(LISTS, st.sampled_from(["left", "right"]))
def test_padding_surrounds_the_lists(lists: list[list[int]], side: str) -> None:
    padded = Histories.from_lists(lists).padded(-7, side=side)
    width = max((len(row) for row in lists), default=0)
    assert padded.shape == (len(lists), width)
    for row, line in zip(lists, padded.tolist(), strict=True):
        fill = [-7] * (width - len(row))
        assert line == (row + fill if side == "right" else fill + row)


@given(LISTS, st.integers(1, 40), st.one_of(st.none(), st.integers(1, 8)))
def test_buckets_hold_every_row_once_and_no_more_slots_than_allowed(lists: list[list[int]], max_slots: int, max_length: int | None) -> None:
    histories = Histories.from_lists(lists)
    batches = histories.length_buckets(max_slots, max_length)
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(lists)))
    counted = [[min(len(lists[row]), max_length or 99) for row in batch] for batch in batches]
    for lengths in counted:
        assert len(lengths) == 1 or len(lengths) * max(lengths) <= max_slots
    # Shortest first, so that two neighbouring batches share as few lengths as possible.
    assert [length for lengths in counted for length in lengths] == sorted(length for lengths in counted for length in lengths)


def test_buckets_are_as_few_as_the_slots_allow() -> None:
    histories = Histories.from_lists([[1] * 4] * 10)
    assert [len(batch) for batch in histories.length_buckets(12)] == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("item", "offsets"),
    [
        (np.array([1, 2], dtype=np.int64), np.array([0, 2])),
        (np.array([1, 2], dtype=np.int32), np.array([0, 1])),
        (np.array([1, 2], dtype=np.int32), np.array([1, 2])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(item: np.ndarray, offsets: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError)):
        Ragged(item, offsets)
