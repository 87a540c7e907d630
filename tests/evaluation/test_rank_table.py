import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadData, BadRequest, Histories, PluginFailed, Queries, Rankings, Targets
from recbench.evaluation import RankTable, check_rankings, ranks_of_targets
from tests.evaluation.scored import random_scored, slow_list

N_ITEMS = 10


def three_queries(views=("keep", "unseen")) -> Queries:
    histories = Histories.from_lists([[0, 1], [2], []])
    return Queries(histories, np.array([4, 5, 6], np.int32), np.array(["ann", "bob", "cem"], dtype=object), views)


def good_rankings() -> Rankings:
    keep = [[0, 5, 6, 7], [2, 3, -1, -1], [9, 7, 8, 6]]
    unseen = [[5, 6, 7, 8], [3, 4, -1, -1], [9, 7, 8, 6]]
    items = np.array([keep, unseen], dtype=np.int32)
    scores = np.where(items < 0, -np.inf, np.array([4.0, 3.0, 3.0, 1.0])).astype(np.float32)
    return Rankings(("keep", "unseen"), items, scores)


def with_item(view: int, query: int, place: int, item: int) -> Rankings:
    rankings = good_rankings()
    rankings.items[view, query, place] = item
    return rankings


def with_score(view: int, query: int, place: int, score: float) -> Rankings:
    rankings = good_rankings()
    rankings.scores[view, query, place] = score
    return rankings


def test_good_rankings_pass() -> None:
    check_rankings(good_rankings(), three_queries(), n_items=N_ITEMS, k=4)


@pytest.mark.parametrize(
    ("rankings", "message"),
    [
        (with_item(0, 2, 1, 10), "Query 102 (user cem), view keep: place 1 holds item row 10. Item rows run from 0 to 9"),
        (with_item(1, 0, 3, -2), "Query 100 (user ann), view unseen: place 3 holds item row -2"),
        (with_item(0, 1, 3, 4), "Query 101 (user bob), view keep: place 3 holds item row 4 after a place without item"),
        (with_item(0, 2, 3, 9), "Query 102 (user cem), view keep: item row 9 stands in the list more than once"),
        (with_item(1, 1, 1, 2), "Query 101 (user bob), view unseen: item row 2 stands in the history. Exclude"),
        (with_score(0, 1, 0, np.nan), "Query 101 (user bob), view keep: the score at place 0 is NaN"),
        (with_score(0, 1, 2, np.nan), "Query 101 (user bob), view keep: the score at place 2 is NaN"),
        (with_score(1, 0, 1, 4.5), "Query 100 (user ann), view unseen: the score 4.5 at place 1 is higher than the one before"),
        (with_score(0, 0, 0, np.inf), "Query 100 (user ann), view keep: the score of item row 0 at place 0 is inf"),
        (with_score(0, 0, 3, -np.inf), "Query 100 (user ann), view keep: the score of item row 7 at place 3 is -inf"),
        (with_score(1, 1, 2, 0.0), "Query 101 (user bob), view unseen: place 2 holds no item and yet the score 0.0"),
    ],
)
def test_a_broken_list_is_refused_by_query_and_value(rankings: Rankings, message: str) -> None:
    with pytest.raises(PluginFailed, match=re.escape(message)):
        check_rankings(rankings, three_queries(), n_items=N_ITEMS, k=4, first_query=100)


def test_wrong_views_shape_and_type_are_refused() -> None:
    good = good_rankings()
    with pytest.raises(PluginFailed, match="for the views keep, unseen, asked were keep"):
        check_rankings(good, three_queries(("keep",)), n_items=N_ITEMS, k=4)
    with pytest.raises(PluginFailed, match=r"items of shape \(2, 3, 4\).*number 7.*\(2, 3, 5\)"):
        check_rankings(good, three_queries(), n_items=N_ITEMS, k=5, first_query=7)
    with pytest.raises(PluginFailed, match=r"scores of shape \(2, 3\)"):
        check_rankings(dataclasses.replace(good, scores=good.scores[:, :, 0]), three_queries(), n_items=N_ITEMS, k=4)
    with pytest.raises(PluginFailed, match="items of type int64; int32"):
        check_rankings(dataclasses.replace(good, items=good.items.astype(np.int64)), three_queries(), n_items=N_ITEMS, k=4)
    with pytest.raises(PluginFailed, match="scores of type float64; float32"):
        check_rankings(dataclasses.replace(good, scores=good.scores.astype(np.float64)), three_queries(), n_items=N_ITEMS, k=4)


def test_the_last_item_of_one_query_is_not_taken_for_a_hole_of_the_next() -> None:
    histories = Histories.from_lists([[N_ITEMS - 1], [0]])
    queries = Queries(histories, np.arange(2, dtype=np.int32), np.array(["a", "b"], dtype=object), ("unseen",))
    items = np.array([[[0, -1], [-1, -1]]], dtype=np.int32)
    rankings = Rankings(("unseen",), items, np.where(items < 0, -np.inf, 1.0).astype(np.float32))
    check_rankings(rankings, queries, n_items=N_ITEMS, k=2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 40))
def test_what_sorting_gives_keeps_the_contract(seed: int, k: int) -> None:
    scored = random_scored(np.random.default_rng(seed))
    check_rankings(scored.rankings(k), scored.queries(), n_items=scored.n_items, k=k)


def test_ranks_in_both_views_by_hand() -> None:
    # ann: 6 at place 2 in keep, 1 in unseen; bob: 4 only in unseen; cem: 6 last in both.
    targets = Targets.from_lists([[6], [4], [6]])
    ranks = ranks_of_targets(good_rankings(), targets, three_queries())
    np.testing.assert_array_equal(ranks["keep"], [2, -1, 3])
    np.testing.assert_array_equal(ranks["unseen"], [1, 1, 3])
    assert ranks["keep"].dtype == np.int16


def test_a_target_in_the_history_counts_in_keep_and_is_a_miss_in_unseen() -> None:
    rankings = with_item(1, 0, 0, 0)  # a model that forgot to exclude item 0
    ranks = ranks_of_targets(rankings, Targets.from_lists([[0], [3], [9]]), three_queries())
    np.testing.assert_array_equal(ranks["keep"], [0, 1, 0])
    np.testing.assert_array_equal(ranks["unseen"], [-1, 0, 0])


def test_sets_of_targets_by_hand() -> None:
    targets = Targets.from_lists([[7, 0, 3], [2], [6, 9]])
    ranks = ranks_of_targets(good_rankings(), targets, three_queries())
    np.testing.assert_array_equal(ranks["keep"], [3, 0, -1, 0, 3, 0])
    np.testing.assert_array_equal(ranks["unseen"], [2, -1, -1, -1, 3, 0])


def test_ranks_equal_those_of_a_slow_reference_on_random_scores() -> None:
    for seed in range(200):
        scored = random_scored(np.random.default_rng(seed), largest_set=4)
        ranks = ranks_of_targets(scored.rankings(8), scored.targets, scored.queries())
        for view, rank in ranks.items():
            expected = []
            for row in range(len(scored.histories)):
                ranking = slow_list(scored.scores[row].tolist(), scored.histories[row].tolist(), view, 8)
                expected += [ranking.index(item) if item in ranking else -1 for item in scored.targets[row].tolist()]
            np.testing.assert_array_equal(rank, expected)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_of_any_size_give_the_same_ranks(batch: int) -> None:
    scored = random_scored(np.random.default_rng(3), n_users=150, largest_set=3)
    whole = ranks_of_targets(scored.rankings(10), scored.targets, scored.queries())
    parts: dict[str, list[np.ndarray]] = {"keep": [], "unseen": []}
    rankings, queries = scored.rankings(10), scored.queries()
    for start in range(0, 150, batch):
        rows = np.arange(start, min(start + batch, 150))
        part = Rankings(rankings.views, rankings.items[:, rows], rankings.scores[:, rows])
        for view, rank in ranks_of_targets(part, scored.targets.take(rows), queries.take(rows)).items():
            parts[view].append(rank)
    for view in whole:
        np.testing.assert_array_equal(whole[view], np.concatenate(parts[view]))


def test_a_user_in_two_places_of_the_table_is_refused() -> None:
    rank = np.zeros(3, np.int16)
    table = RankTable(np.array([3, 4, 3], np.int32), np.zeros(3, np.int32), {"keep": rank}, 10)
    with pytest.raises(BadData, match="rows of user 3 do not stand side by side"):
        _ = table.offsets


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows"):
        RankTable(np.zeros(3, np.int32), np.zeros(2, np.int32), {"keep": np.zeros(3, np.int16)}, 10)


def test_lists_longer_than_a_rank_can_say_are_refused() -> None:
    queries = Queries(Histories.from_lists([[]]), np.zeros(1, np.int32), np.array(["a"], dtype=object), ("keep",))
    items = np.arange(40_000, dtype=np.int32).reshape(1, 1, -1)
    with pytest.raises(BadRequest, match="40000 items are too long"):
        ranks_of_targets(Rankings(("keep",), items, -items.astype(np.float32)), Targets.from_lists([[39_999]]), queries)
