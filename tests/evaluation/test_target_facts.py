from itertools import pairwise

import numpy as np

from recbench.core import Histories, Interactions, Targets, TimeKind
from recbench.evaluation import target_facts, targets_part


def interactions(lists: list[list[int]], n_items: int) -> Interactions:
    packed = Histories.from_lists(lists)
    return Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), n_items, TimeKind.SECONDS)


TRAIN = interactions([[0, 1, 2], [], [1, 0], [3, 3], [2]], 6)
"""Counts 2, 2, 2, 2, 0, 0; steps 0-1, 1-2, 1-0, 3-3; 2-1 and 0-3 stand side by side only across users."""


def test_facts_by_hand() -> None:
    histories = Histories.from_lists([[0, 1], [1, 2], [3, 5, 0], []])
    targets = Targets.from_lists([[2, 0, 5], [1], [3], [4]])
    user = np.array([10, 12, 13, 14], np.int32)
    facts = target_facts(TRAIN, histories, targets, user, np.array([True, False, False, True]))
    np.testing.assert_array_equal(facts.user, [10, 10, 10, 12, 13, 14])
    np.testing.assert_array_equal(facts.target, [2, 0, 5, 1, 3, 4])
    np.testing.assert_array_equal(facts.target_count, [2, 2, 0, 2, 2, 0])
    np.testing.assert_array_equal(facts.history_length, [2, 2, 2, 2, 3, 0])
    np.testing.assert_array_equal(facts.is_tied, [True, True, True, False, False, True])
    np.testing.assert_array_equal(facts.in_history, [False, True, False, True, True, False])
    np.testing.assert_array_equal(facts.follows_last, [True, True, False, False, False, False])
    np.testing.assert_allclose(facts.history_popularity, [2, 2, 2, 2, 4 / 3, 0])
    assert {facts.target_count.dtype, facts.history_length.dtype, facts.user.dtype} == {np.dtype(np.int32)}
    part = targets_part(facts, 7)
    assert (part.n_users, part.n_targets, part.n_users_train_only, part.n_cold) == (4, 6, 7, 2)
    assert (part.share_in_history, part.share_tied) == (3 / 6, 4 / 6)


def test_steps_and_repeats_equal_a_slow_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        lists = [rng.integers(0, 9, size=rng.integers(0, 6)).tolist() for _ in range(12)]
        histories = Histories.from_lists([rng.integers(0, 9, size=rng.integers(0, 5)).tolist() for _ in range(12)])
        targets = Targets.from_lists([rng.permutation(9)[: rng.integers(1, 4)].tolist() for _ in range(12)])
        facts = target_facts(interactions(lists, 9), histories, targets, np.arange(12, dtype=np.int32), None)
        steps = {pair for events in lists for pair in pairwise(events)}
        row = 0
        for query in range(12):
            history = histories[query].tolist()
            for target in targets[query].tolist():
                assert facts.follows_last[row] == (bool(history) and (history[-1], target) in steps)
                assert facts.in_history[row] == (target in history)
                row += 1
        assert facts.is_tied is None


def test_empty_parts_have_empty_facts() -> None:
    nothing = Histories.from_lists([])
    facts = target_facts(interactions([[], []], 3), nothing, Targets.from_lists([]), np.empty(0, np.int32), None)
    assert len(facts) == 0
    part = targets_part(facts, 2)
    assert (part.n_users, part.share_in_history, part.share_tied) == (0, 0.0, None)
