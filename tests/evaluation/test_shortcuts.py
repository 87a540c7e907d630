"""Figures of a shortcut card, by hand."""

from math import log, log2

import numpy as np
import pytest

from recbench.core import Histories, Interactions, Targets, TimeKind
from recbench.core.interactions import UNKNOWN_TIME
from recbench.evaluation import dealt_anew, drift, late_drift, next_item_entropy

TRAIN = [[0, 1], [2, 3], [2, 3]]
"""Steps 0-1 and twice 2-3; counts 1, 1, 2, 2, 0."""


def interactions(lists: list[list[int]], n_items: int) -> Interactions:
    packed = Histories.from_lists(lists)
    return Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), n_items, TimeKind.POSITION)


def items(*rows: int) -> np.ndarray:
    return np.array(rows, dtype=np.int32)


def test_entropy_by_hand() -> None:
    histories = Histories.from_lists([[0, 1, 2], [2, 3, 1], [2, 3, 0], []])
    found = next_item_entropy(interactions(TRAIN, 5), histories, Targets.from_lists([[3], [2], [4], [0]]))
    assert found is not None
    assert (found.n_steps, found.unseen) == (3, 1 / 3)
    one_in_three = log2(3) - 2 / 3
    assert found.item_plug_in == pytest.approx(one_in_three)
    assert found.item == pytest.approx(one_in_three + 1 / (6 * log(2)))
    # Who knows the first item of a step knows the second, and as many pairs as first items were seen.
    assert (found.given_last_plug_in, found.given_last) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert found.target_by_counts == pytest.approx(-(log2(3 / 11) + log2(3 / 11) + log2(1 / 11) + log2(2 / 11)) / 4)
    # 2 was followed twice, by one item; 1 by none; 0 once, by another item; nothing is known where there is no history.
    expected = [(2 + 3 / 11) / 3, 3 / 11, (0 + 1 / 11) / 2, 2 / 11]
    assert found.target_by_pairs == pytest.approx(-sum(map(log2, expected)) / 4)


def test_pairs_seen_once_hide_what_is_uncertain_and_the_correction_knows_some_of_it() -> None:
    # Each item is followed by any of 16 with the same probability: 4 bits, whatever came before.
    rng = np.random.default_rng(0)
    found = next_item_entropy(interactions([rng.integers(0, 16, 600).tolist()], 16), Histories.from_lists([]), Targets.from_lists([]))
    assert found is not None
    assert found.given_last_plug_in < found.given_last < 4
    assert found.item_plug_in < found.item == pytest.approx(4, abs=0.05)


def test_without_steps_there_is_no_entropy() -> None:
    assert next_item_entropy(interactions([[0], [1]], 2), Histories.from_lists([[0]]), Targets.from_lists([[1]])) is None


def test_drift_by_hand() -> None:
    # Shares 1/2, 1/2, 0 and 1/4, 1/4, 1/2.
    assert drift(items(0, 1), items(0, 1, 2, 2), 4).value == pytest.approx(0.5)
    same = drift(items(3, 3), items(3, 3, 3), 4)
    assert (same.value, same.by_chance) == (0.0, 0.0)
    apart = drift(items(0), items(1), 2)
    assert (apart.value, apart.by_chance) == (1.0, 1.0)


def test_drift_of_one_population_is_that_of_chance() -> None:
    rng = np.random.default_rng(1)
    found = drift(*(rng.integers(0, 500, n).astype(np.int32) for n in (1000, 5000)), 500)
    assert found.value == pytest.approx(found.by_chance, rel=0.1)
    assert found.value > 0.2


def test_the_latest_tenth_of_the_train_events_is_told_by_their_times() -> None:
    # Item 1 has the two latest of twenty known times; the one of unknown time counts for nothing.
    times = np.array([18, *range(18), 19, UNKNOWN_TIME])
    train = Interactions(items(1, *[0] * 18, 1, 1), np.array([0, 10, 21]), times * 0, 2, TimeKind.POSITION, times)
    found = late_drift(train)
    assert found is not None
    assert (found.value, found.by_chance < 0.5) == (1.0, True)
    assert late_drift(train.take([0])) == drift(items(1), items(*[0] * 9), 2)
    assert late_drift(interactions(TRAIN, 5)) is None


def test_targets_are_dealt_to_queries_as_large_as_before() -> None:
    targets = Targets.from_lists([[number, number + 100] for number in range(50)])
    dealt = dealt_anew(targets)
    assert sorted(dealt.item.tolist()) == sorted(targets.item.tolist())
    assert dealt.item.tolist() != targets.item.tolist()
    np.testing.assert_array_equal(dealt.offsets, targets.offsets)
