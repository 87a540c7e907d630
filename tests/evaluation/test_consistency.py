"""Ranks and exposure that no lists could give."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recbench.core.ragged import Targets
from recbench.evaluation import Exposure, RankTable, TargetFacts, contradictions

TARGET = np.array([2, 3, 3, 0], np.int32)
"""Users 0, 1 and 2; the last has the set of items 3 and 0."""


def tables() -> tuple[RankTable, Exposure, TargetFacts]:
    """Three lists, whose targets stand at 0, 12, (1, miss) in both views."""
    targets = Targets(TARGET, np.array([0, 1, 2, 4], np.int64))
    rank = np.array([0, 12, 1, -1], np.int16)
    ranks = RankTable.of_queries(np.arange(3, dtype=np.int32), targets, {"keep": rank, "unseen": rank.copy()}, 50)
    shown = np.array([3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0], np.int32)
    is_false = np.zeros(4, np.bool_)
    facts = TargetFacts(
        user=ranks.user,
        target=TARGET,
        target_count=np.ones(4, np.int32),
        history_length=np.ones(4, np.int32),
        is_tied=None,
        in_history=is_false,
        follows_last=None,
        history_popularity=np.ones(4),
        of_task={},
    )
    return ranks, Exposure({"keep": shown, "unseen": shown.copy()}), facts


def test_what_lists_give_holds_no_contradiction() -> None:
    assert contradictions(*tables()) == []


CONTRADICTORY: list[tuple[str, Callable[[Any, Any], None], str]] = [
    ("a place twice", lambda ranks, _: ranks.rank["keep"].put(3, 1), "rank_keep: two targets of one list have the same place"),
    ("a hit that nobody is shown", lambda _, exposure: exposure.counts["keep"].put(2, 0), "rank_keep: item 2 is found in the first 10"),
    ("more than all lists hold", lambda _, exposure: exposure.counts["unseen"].put(11, 3), "more items are shown in unseen than 3 lists"),
    ("more often than there are lists", lambda _, exposure: exposure.counts["keep"].put([0, 1], [4, 2]), "shown in keep than 3 lists"),
    ("less than never", lambda _, exposure: exposure.counts["keep"].put(11, -1), "more items are shown in keep"),
]


@pytest.mark.parametrize(("what", "harm", "words"), CONTRADICTORY, ids=[what for what, _, _ in CONTRADICTORY])
def test_what_no_lists_give_is_told(what: str, harm: Callable[[Any, Any], None], words: str) -> None:
    ranks, exposure, facts = tables()
    harm(ranks, exposure)
    assert words in "\n".join(contradictions(ranks, exposure, facts)), what


def test_a_target_of_the_history_has_no_place_without_the_history() -> None:
    ranks, exposure, facts = tables()
    (told,) = contradictions(ranks, exposure, replace(facts, in_history=np.array([True, False, False, False])))
    assert "rank_unseen: a target that stands in the history" in told


def test_queries_of_one_user_may_each_hold_a_target_at_the_same_place() -> None:
    ranks, _, facts = tables()
    rank = {view: np.array([0, 0, 0, 0], np.int16) for view in ("keep", "unseen")}
    shown = np.full(12, 3, np.int32)
    several = replace(ranks, user=np.zeros(4, np.int32), rank=rank, has_single_targets=True)
    assert contradictions(several, Exposure({"keep": shown, "unseen": shown}), facts) == []
