"""What a test asks: the relation of each target to the last item of the history."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import Histories, Interactions, Targets, TimeKind
from recbench.evaluation import RELATIONS, target_relations

SEEN, REVERSED, TWO_STEPS, SHARED, NEAR, NONE = range(6)


def interactions(lists: list[list[int]], n_items: int) -> Interactions:
    packed = Histories.from_lists(lists)
    return Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), n_items, TimeKind.SECONDS)


def found(train: list[list[int]], n_items: int, pairs: list[tuple[int, int]], texts: list[str] | None = None) -> list[int]:
    histories = Histories.from_lists([[(last + 1) % n_items, last] for last, _ in pairs])
    targets = Targets.from_lists([[target] for _, target in pairs])
    return target_relations(interactions(train, n_items), histories, targets, texts).tolist()


def test_steps_by_hand() -> None:
    train = [[0, 1, 2], [3, 1], [3, 4], [5, 0]]
    # 0-1, 1-2, 3-1, 3-4, 5-0
    expected = {
        (0, 1): SEEN,
        (1, 0): REVERSED,
        (0, 2): TWO_STEPS,
        (5, 1): TWO_STEPS,
        (2, 0): NONE,  # two steps the other way round
        (0, 3): SHARED,  # both are followed by 1
        (1, 4): SHARED,  # both come after 3
        (2, 5): NONE,
        (6, 0): NONE,
        (0, 0): SHARED,  # an item has its own neighbours
        (6, 6): NONE,
    }
    assert found(train, 7, list(expected)) == list(expected.values())


def test_a_step_across_users_is_none_and_a_query_without_a_history_is_asked_for_none() -> None:
    assert found([[0, 1], [2, 3]], 4, [(1, 2)]) == [NONE]
    nothing = target_relations(interactions([[0, 1]], 3), Histories.from_lists([[]]), Targets.from_lists([[1]]), ["a", "a", "a"])
    assert nothing.tolist() == [NONE]


def test_texts_count_only_where_no_steps_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.evaluation.relations._COMMON", 0.6)
    monkeypatch.setattr("recbench.evaluation.relations.NEAR", 2)
    texts = ["Red lamp", "red chair", "lamp, red!", "blue lamp", "", "wood"]
    # Most like "red lamp" is "lamp, red!", then come "red chair" and "blue lamp", as near as each other: both count.
    pairs = [(0, 2), (0, 1), (0, 3), (0, 5), (4, 0), (0, 4)]
    assert found([], 6, pairs, texts) == [NEAR, NEAR, NEAR, NONE, NONE, NONE]
    assert found([[0, 2]], 6, [(0, 2)], texts) == [SEEN]
    assert found([], 6, pairs) == [NONE] * 6


def test_words_of_many_items_count_nothing() -> None:
    texts = [f"item {number}" for number in range(30)]
    assert found([], 30, [(0, 1)], texts) == [NONE]
    texts[7] += " rare"
    texts[9] += " rare"
    assert found([], 30, [(7, 9), (7, 8)], texts) == [NEAR, NONE]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([1, 3, 8192]))
def test_equals_a_slow_search(seed: int, n_items: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, n_items, rng.integers(0, 5)).tolist() for _ in range(6)]
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, n_items, (40, 2))]
    steps = {pair for events in lists for pair in pairwise(events)}

    def slow(last: int, target: int) -> int:
        if (last, target) in steps:
            return SEEN
        if (target, last) in steps:
            return REVERSED
        between = range(n_items)
        if any((last, item) in steps and (item, target) in steps for item in between):
            return TWO_STEPS
        if any({(last, item), (target, item)} <= steps or {(item, last), (item, target)} <= steps for item in between):
            return SHARED
        return NONE

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recbench.evaluation.relations._ROWS", n_rows)
        assert found(lists, n_items, pairs) == [slow(*pair) for pair in pairs]


def test_every_target_has_one_relation() -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 40, 6).tolist() for _ in range(30)]
    targets = Targets.from_lists([rng.permutation(40)[: rng.integers(1, 4)].tolist() for _ in range(30)])
    kind = target_relations(
        interactions(lists, 40), Histories.from_lists(lists), targets, [f"w{number % 9} x{number}" for number in range(40)]
    )
    assert kind.shape == targets.item.shape
    assert set(kind.tolist()) <= set(range(len(RELATIONS)))
