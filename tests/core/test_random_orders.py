"""Sets in several random orders, for models that read an order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recbench.core.interactions import Interactions, TimeKind
from recbench.core.ragged import Histories
from recbench.core.seeds import generator

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=6, unique=True), min_size=1, max_size=8)


def packed(lists: list[list[int]]) -> Interactions:
    histories = Histories.from_lists(lists)
    return Interactions(histories.item, histories.offsets, np.arange(len(histories.item), dtype=np.int64), 10, TimeKind.NONE)


@given(LISTS, st.integers(1, 4))
def test_every_copy_holds_the_same_sets(lists: list[list[int]], n_orders: int) -> None:
    found = packed(lists).in_random_orders(n_orders, lambda number: generator(0, "order", number))
    assert len(found) == n_orders * len(lists)
    for row in range(len(found)):
        assert sorted(found[row].tolist()) == sorted(lists[row % len(lists)])
    # What stands beside an item goes with it.
    assert found.timestamp.tolist() == [
        packed(lists).offsets[row % len(lists)] + lists[row % len(lists)].index(item)
        for row in range(len(found))
        for item in found[row].tolist()
    ]


def test_orders_differ_from_copy_to_copy_and_not_from_call_to_call() -> None:
    sets = packed([list(range(10)), list(range(5, 10))])
    first, again = (sets.in_random_orders(3, lambda number: generator(7, "order", number)) for _ in range(2))
    np.testing.assert_array_equal(first.item, again.item)
    assert len({tuple(first[2 * copy].tolist()) for copy in range(3)}) == 3
    other = sets.in_random_orders(3, lambda number: generator(8, "order", number))
    assert not np.array_equal(first.item, other.item)
