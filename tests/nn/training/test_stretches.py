"""Stretches: what stands where, and how they are drawn and padded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import Histories
from recbench.nn.training import Stretches

sequences = st.lists(st.lists(st.integers(0, 30), max_size=23), min_size=1, max_size=6)


def lists_of(stretches: Stretches) -> list[list[int]]:
    return [stretches.item[start : start + length].tolist() for start, length in zip(stretches.start, stretches.length, strict=True)]


@given(sequences, st.integers(1, 7))
def test_tiles_hold_every_item_once_and_only_the_first_of_a_user_is_short(users: list[list[int]], max_length: int) -> None:
    tiles = Stretches.tiles(Histories.from_lists(users), max_length)
    for user, items in enumerate(users):
        parts = [part for part, of in zip(lists_of(tiles), tiles.user, strict=True) if of == user]
        assert [item for part in parts for item in part] == items
        assert all(len(part) == max_length for part in parts[1:])
        assert all(1 <= len(part) <= max_length for part in parts)


@given(sequences, st.integers(1, 7))
def test_prefixes_end_at_every_item(users: list[list[int]], max_length: int) -> None:
    prefixes = Stretches.prefixes(Histories.from_lists(users), max_length)
    expected = [(user, items[max(0, end - max_length) : end]) for user, items in enumerate(users) for end in range(1, len(items) + 1)]
    assert list(zip(prefixes.user.tolist(), lists_of(prefixes), strict=True)) == expected


def test_one_stretch_of_each_user_is_drawn_uniformly() -> None:
    prefixes = Stretches.prefixes(Histories.from_lists([[1, 2, 3, 4], [], [5], [6, 7]]), 9)
    generator = np.random.default_rng(0)
    drawn = np.array([prefixes.one_per_user(generator) for _ in range(4_000)])
    assert (prefixes.user[drawn] == [0, 2, 3]).all()
    for column, n in ((0, 4), (1, 1), (2, 2)):
        share = np.unique(drawn[:, column], return_counts=True)[1] / 4_000
        assert len(share) == n
        np.testing.assert_allclose(share, 1 / n, atol=0.03)


def test_nobody_has_a_stretch() -> None:
    nothing = Stretches.tiles(Histories.from_lists([[], []]), 5)
    assert len(nothing) == 0
    assert nothing.one_per_user(np.random.default_rng(0)).tolist() == []
    assert nothing.padded(np.array([], np.int64), 9).shape == (0, 0)


def test_rows_are_filled_up_at_the_end() -> None:
    tiles = Stretches.tiles(Histories.from_lists([[1, 2, 3], [4, 5, 6, 7]]), 3)
    assert lists_of(tiles) == [[1, 2, 3], [4], [5, 6, 7]]
    assert tiles.padded(np.array([1, 0]), 99).tolist() == [[4, 99, 99], [1, 2, 3]]


@pytest.mark.parametrize("bucketed", [False, True])
def test_batches_hold_the_chosen_stretches_once(bucketed: bool) -> None:
    users = Histories.from_lists([[0] * length for length in range(1, 60)])
    prefixes = Stretches.prefixes(users, 50)
    chosen = prefixes.one_per_user(np.random.default_rng(1))
    batches, again, other = (
        prefixes.batches(chosen, bucketed=bucketed, size=8, generator=np.random.default_rng(seed)) for seed in (2, 2, 3)
    )
    assert sorted(np.concatenate(batches).tolist()) == chosen.tolist()
    assert sorted(map(len, batches)) == [3, *[8] * 7]
    assert all(map(np.array_equal, batches, again))
    assert not all(map(np.array_equal, batches, other))
    slots = sum(prefixes.length[batch].max() * len(batch) for batch in batches)
    assert (slots < 1.2 * prefixes.length[chosen].sum()) == bucketed


def test_groups_of_like_length_hold_all_and_none_is_more_than_twice_as_long() -> None:
    prefixes = Stretches.prefixes(Histories.from_lists([[0] * 50, [0] * 9]), 50)
    rows = np.random.default_rng(0).permutation(len(prefixes))
    groups = prefixes.of_like_length(rows)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(prefixes)))
    assert len(groups) == 7
    assert all(prefixes.length[group].max() <= 2 * prefixes.length[group].min() for group in groups)
