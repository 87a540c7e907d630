"""Items without a past: by hand, and what must hold whatever the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, Interactions, ItemTable, TimeKind
from recbench.data import Dataset, DatasetCard, Split, make_split
from recbench.data.cold_split import drawn_items
from recbench.data.reader import string_array
from recbench.tasks import NEXT_ITEM


def dataset_of(lists: list[list[int]], n_items: int) -> Dataset:
    events = Interactions(
        np.concatenate([np.asarray(row, np.int32) for row in lists]),
        np.cumsum([0, *map(len, lists)]).astype(np.int64),
        np.concatenate([np.arange(len(row)) for row in lists]),
        n_items,
        TimeKind.POSITION,
    )
    card = DatasetCard(name="memory", title="Memory", terms="none", reader="parquet", time="position")
    ids = string_array([f"item {number}" for number in range(n_items)])
    return Dataset(card, events, ItemTable(ids, {}), string_array([f"user {number}" for number in range(len(lists))]))


def parts(split: Split, name: str) -> dict[int, tuple[list[int], list[int]]]:
    part = getattr(split, name)
    return {int(user): (part.histories[row].tolist(), part.targets[row].tolist()) for row, user in enumerate(part.user)}


def test_by_hand() -> None:
    lists = [
        [0, 8, 1, 9, 2, 3],  # 9 is asked for in the test, 8 in validation
        [9, 0, 1],  # nothing known before 9
        [0, 1, 8, 2],  # validation alone
        [0, 1, 9, 8, 2],  # 8 comes behind the test target: no validation
        [0, 9, 1, 9],  # the last of several
        [0, 1, 2],  # never asked
    ]
    dataset = dataset_of(lists, 10)
    for_test, for_valid = (np.isin(np.arange(10), [item]) for item in (9, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recbench.data.cold_split.drawn_items", lambda *_: (for_test, for_valid))
        split = make_split(dataset, NEXT_ITEM.protocol("cold"))
    assert parts(split, "test") == {0: ([0, 1], [9]), 3: ([0, 1], [9]), 4: ([0, 1], [9])}
    assert parts(split, "valid") == {0: ([0], [8]), 2: ([0, 1], [8])}
    assert [split.train[row].tolist() for row in range(6)] == [[0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1, 2]]
    assert split.notes["events behind a target, in no part"] == 5


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.05, 0.1, 0.4]), draw=st.integers(0, 3))
def test_no_model_sees_what_is_asked_for(seed: int, share: float, draw: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [(60 * rng.random(rng.integers(3, 20)) ** 2).astype(int).tolist() for _ in range(80)]
    split = make_split(dataset_of(lists, 70), NEXT_ITEM.protocol(f"cold:share={share},seed={draw}"))
    counts = split.train.item_counts()
    asked = {name: {item for _, target in parts(split, name).values() for item in target} for name in ("valid", "test")}
    assert not asked["valid"] & asked["test"]
    assert all(counts[item] == 0 for items in asked.values() for item in items)
    known = set(np.flatnonzero(counts).tolist())
    drawn = [
        set(np.flatnonzero(mask).tolist())
        for mask in drawn_items(np.bincount(np.concatenate(lists), minlength=70), split.items.item_ids, share, draw)
    ]
    assert asked["test"] <= drawn[0]
    assert asked["valid"] <= drawn[1]
    for name in ("valid", "test"):
        for user, (history, (target,)) in parts(split, name).items():
            assert history
            assert not (drawn[0] | drawn[1]) & set(history)
            # The future of whoever is asked is in no part.
            seen = split.train[user].tolist()
            assert history[: len(seen)] == seen
            assert target in lists[user]
    assert known.isdisjoint(drawn[0] | drawn[1])


def test_draws_take_every_tenth_alike_and_hang_on_ids_alone() -> None:
    counts = np.repeat(np.arange(1, 101), 10)
    ids = string_array([f"item {number}" for number in range(1_000)])
    for_test, for_valid = drawn_items(counts, ids, 0.05, 0)
    for drawn in (for_test, for_valid):
        assert drawn.reshape(10, 100).sum(axis=1).tolist() == [5] * 10
    assert not (for_test & for_valid).any()
    other, _ = drawn_items(counts, ids, 0.05, 1)
    assert (for_test != other).any()
    order = np.random.default_rng(0).permutation(1_000)
    shuffled, _ = drawn_items(counts[order], ids[order], 0.05, 0)
    np.testing.assert_array_equal(shuffled, for_test[order])
    none, _ = drawn_items(np.where(np.arange(1_000) < 500, 0, counts), ids, 0.05, 0)
    assert not none[:500].any()
    assert none[500:].reshape(10, 50).sum(axis=1).tolist() == [2, 3, 3, 2, 2, 3, 3, 2, 2, 3]  # two and a half of each, even totals


@pytest.mark.parametrize("text", ["cold:share=0", "cold:share=0.5", "cold:share=half", "cold:share=nan"])
def test_impossible_shares_are_named(text: str) -> None:
    with pytest.raises(BadConfig, match="not above 0 and at most"):
        NEXT_ITEM.protocol(text)
