"""Stretches of histories: every target is trained, with enough context, in batches of like length."""

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import Histories, Interactions, TimeKind
from recbench.nn.training.windows import BatchUnit, Windows, in_random_order, length_bucketed


def interactions_of(lists: list[list[int]], n_items: int) -> Interactions:
    packed = Histories.from_lists(lists)
    return Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), n_items, TimeKind.NONE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=8), st.integers(2, 21))
def test_every_target_is_trained_once_with_enough_context(lengths: list[int], max_length: int) -> None:
    train = interactions_of([list(range(100 * u, 100 * u + n)) for u, n in enumerate(lengths)], 1000)
    windows = Windows.of(train, max_length)
    assert (windows.length <= max_length).all()
    assert (windows.length > 0).all()
    targets = []
    for w in range(len(windows)):
        item, target = windows.padded(np.array([w]), fill=1000)
        begin = train.offsets[windows.user[w]]
        for column in np.flatnonzero(target[0] >= 0):
            place = windows.start[w] + column + 1
            assert target[0, column] == train.item[place]
            assert item[0, column] == train.item[place - 1]
            assert column + 1 >= min(place - begin, max_length // 2)
            targets.append(int(train.item[place]))
    assert sorted(targets) == sorted(item for u, n in enumerate(lengths) for item in range(100 * u + 1, 100 * u + n))
    assert windows.n_targets.sum() == len(targets)


def test_windows_of_a_long_user_by_hand() -> None:
    windows = Windows.of(interactions_of([list(range(12)), [50], [60, 61]], 100), max_length=4)
    assert windows.user.tolist() == [0, 0, 0, 0, 0, 2]
    assert windows.start.tolist() == [0, 1, 3, 5, 7, 13]
    assert windows.length.tolist() == [3, 4, 4, 4, 4, 1]
    assert windows.first_trained.tolist() == [0, 2, 2, 2, 2, 0]


def test_padded_windows_by_hand() -> None:
    windows = Windows.of(interactions_of([[5, 6, 7], [8, 9]], 10), max_length=4)
    item, target = windows.padded(np.array([1, 0]), fill=10)
    assert item.tolist() == [[8, 10], [5, 6]]
    assert target.tolist() == [[9, -1], [6, 7]]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=200),
    st.integers(1, 300),
    st.sampled_from(["sequences", "targets"]),
    st.booleans(),
    st.integers(0, 9),
)
def test_batches_hold_every_window_once(lengths: list[int], size: int, unit: BatchUnit, bucketed: bool, seed: int) -> None:
    length = np.array(lengths)

    def in_batches() -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        if bucketed:
            return length_bucketed(length, length, size=size, unit=unit, generator=generator)
        return in_random_order(length, size=size, unit=unit, generator=generator)

    batches = in_batches()
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(length)))
    for batch in batches:
        held = len(batch) if unit == "sequences" else length[batch].sum()
        assert held <= size or len(batch) == 1
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in in_batches()]


def test_epochs_differ_and_batches_are_of_like_length() -> None:
    rng = np.random.default_rng(0)
    length = np.minimum(rng.geometric(0.15, 3000), 50)
    first, second = (length_bucketed(length, length, size=64, unit="sequences", generator=np.random.default_rng(e)) for e in (0, 1))
    assert [b.tolist() for b in first] != [b.tolist() for b in second]
    slots = sum(len(batch) * length[batch].max() for batch in first)
    assert slots < 1.1 * length.sum()


def test_users_of_any_length_meet_in_random_order() -> None:
    windows = Windows.of(interactions_of([list(range(1 + u % 20)) for u in range(2000)], 100), max_length=30)
    batches = {}
    for bucketed in (True, False):
        batches[bucketed] = windows.batches(bucketed=bucketed, size=100, unit="sequences", generator=np.random.default_rng(0))
    spread = {bucketed: np.mean([np.ptp(windows.length[batch]) for batch in found]) for bucketed, found in batches.items()}
    assert spread[True] < 2
    assert spread[False] == 18
    # Batches of about equal weight: the targets of each are as many as 100 windows have on average.
    assert np.std([windows.n_targets[batch].sum() for batch in batches[False]]) < 100


@given(st.lists(st.integers(2, 200), min_size=1, max_size=50), st.randoms(use_true_random=False))
def test_a_batch_in_groups_of_like_length(lengths: list[int], random: Random) -> None:
    windows = Windows.newest(interactions_of([list(range(n)) for n in lengths], 200), max_length=300)
    rows = np.array(random.sample(range(len(lengths)), random.randint(1, len(lengths))))
    groups = windows.of_like_length(rows)
    assert sorted(np.concatenate(groups).tolist()) == sorted(rows.tolist())
    assert all(windows.length[group].max() <= 2 * windows.length[group].min() for group in groups)
    assert len(groups) <= 9


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=8), st.integers(2, 21))
def test_newest_events_of_each_user_are_trained(lengths: list[int], max_length: int) -> None:
    train = interactions_of([list(range(100 * u, 100 * u + n)) for u, n in enumerate(lengths)], 1000)
    windows = Windows.newest(train, max_length)
    assert windows.user.tolist() == [u for u, n in enumerate(lengths) if n > 1]
    for w, user in enumerate(windows.user.tolist()):
        kept = list(range(100 * user, 100 * user + lengths[user]))[-max_length - 1 :]
        item, target = windows.padded(np.array([w]), fill=1000)
        assert item.tolist() == [kept[:-1]]
        assert target.tolist() == [kept[1:]]


def test_newest_by_hand() -> None:
    windows = Windows.newest(interactions_of([[5, 6, 7, 8], [9], [3, 4]], 10), max_length=2)
    item, target = windows.padded(np.arange(2), fill=10)
    assert item.tolist() == [[6, 7], [3, 10]]
    assert target.tolist() == [[7, 8], [4, -1]]


def test_prefixes_by_hand() -> None:
    windows = Windows.prefixes(interactions_of([[5, 6, 7, 8], [9], [3, 4]], 10), max_length=2)
    item, target = windows.padded(np.arange(len(windows)), fill=10)
    assert item.tolist() == [[5, 10], [5, 6], [6, 7], [3, 10]]
    assert target.tolist() == [[6, -1], [-1, 7], [-1, 8], [4, -1]]
    assert windows.user.tolist() == [0, 0, 0, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(2, 9), st.sampled_from(["of", "newest", "prefixes"]))
def test_trained_slots_are_those_of_the_padded_targets(lengths: list[int], max_length: int, cut: str) -> None:
    train = interactions_of([list(range(100 * u, 100 * u + n)) for u, n in enumerate(lengths)], 1000)
    windows = getattr(Windows, cut)(train, max_length)
    rows = np.arange(len(windows))
    _, padded = windows.padded(rows, fill=1000)
    target, slot = windows.trained(rows)
    for w in rows:
        is_there = target[w] >= 0
        assert is_there.sum() == windows.n_targets[w]
        assert padded[w, slot[w, is_there]].tolist() == target[w, is_there].tolist() == padded[w][padded[w] >= 0].tolist()
        assert (slot[w, ~is_there] == 0).all()


def test_windows_drawn_per_user() -> None:
    windows = Windows.of(interactions_of([list(range(40)), [50, 51], list(range(60, 90))], 100), max_length=4)
    first, second = (windows.drawn(3, np.random.default_rng(seed)) for seed in (0, 1))
    assert np.bincount(windows.user[first]).tolist() == [3, 1, 3]
    assert len(set(first.tolist())) == 7
    assert first.tolist() != second.tolist()
    everything = [windows.drawn(3, np.random.default_rng(seed)) for seed in range(60)]
    assert np.unique(np.concatenate(everything)).tolist() == list(range(len(windows)))
    assert windows.drawn(None, np.random.default_rng(0)).tolist() == list(range(len(windows)))
