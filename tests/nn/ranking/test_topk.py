"""Full-catalogue top-k: exact, one order, bounded blocks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recbench.core import Histories, Queries, Rankings
from recbench.nn.ranking.topk import full_catalogue_topk, topk_from_scores


def queries_of(histories: list[list[int]], views: tuple[str, ...] = ("keep", "unseen")) -> Queries:
    n = len(histories)
    return Queries(Histories.from_lists(histories), np.arange(n, dtype=np.int32), np.array([str(i) for i in range(n)], object), views)


def reference(score_BI: NDArray[np.float32], queries: Queries, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """By a stable argsort of every row."""
    items = np.full((len(queries.views), len(queries), k), -1, np.int32)
    scores = np.full(items.shape, -np.inf, np.float32)
    for v, view in enumerate(queries.views):
        for b in range(len(queries)):
            score = score_BI[b].copy()
            if view == "unseen":
                score[queries.histories[b]] = -np.inf
            order = np.argsort(-score, kind="stable")
            order = order[score[order] > -np.inf][:k]
            items[v, b, : len(order)], scores[v, b, : len(order)] = order, score[order]
    return items, scores


def rank(score_BI: NDArray[np.float32], queries: Queries, k: int, block_bytes: int = 2**20) -> Rankings:
    return topk_from_scores(lambda rows: torch.from_numpy(score_BI[rows]), queries, k, score_BI.shape[1], block_bytes=block_bytes)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 900), st.integers(1, 60), st.sampled_from([1, 2, 5, 40, 10**6]))
def test_equals_a_stable_sort(seed: int, n_items: int, k: int, n_values: int) -> None:
    rng = np.random.default_rng(seed)
    score_BI = rng.integers(-n_values, n_values, size=(7, n_items)).astype(np.float32)
    score_BI[rng.random(score_BI.shape) < 0.1] = -0.0
    score_BI[0, rng.random(n_items) < 0.5] = -np.inf
    histories = [rng.integers(0, n_items, size=rng.integers(0, 30)).tolist() for _ in range(7)]
    queries = queries_of(histories)
    items, scores = reference(score_BI, queries, k)
    ranked = rank(score_BI, queries, k, block_bytes=3 * 4 * n_items)
    np.testing.assert_array_equal(ranked.items, items)
    np.testing.assert_array_equal(ranked.scores, scores)


@pytest.mark.parametrize("views", [("keep",), ("unseen",), ("unseen", "keep")])
def test_views_asked_for_come_in_their_order(views: tuple[str, ...]) -> None:
    score_BI = np.array([[5, 4, 3, 2, 1]], np.float32)
    ranked = rank(score_BI, queries_of([[0, 2, 2]], views), 3)
    assert ranked.views == views
    expected = {"keep": [0, 1, 2], "unseen": [1, 3, 4]}
    assert [row.tolist() for row in ranked.items[:, 0]] == [expected[view] for view in views]


def test_short_catalogue_ends_with_minus_one() -> None:
    ranked = rank(np.array([[1, 1, 2]], np.float32), queries_of([[1]]), 5)
    assert ranked.view("keep").tolist() == [[2, 0, 1, -1, -1]]
    assert ranked.view("unseen").tolist() == [[2, 0, -1, -1, -1]]
    assert ranked.scores[1, 0].tolist() == [2, 1, -np.inf, -np.inf, -np.inf]


def test_a_history_of_all_items_leaves_nothing() -> None:
    ranked = rank(np.ones((1, 4), np.float32), queries_of([[3, 2, 1, 0]]), 2)
    assert ranked.view("unseen").tolist() == [[-1, -1]]
    assert ranked.view("keep").tolist() == [[0, 1]]


@pytest.mark.parametrize("history", [[], [4]])
def test_nan_stands_first_so_that_a_check_sees_it(history: list[int]) -> None:
    score_BI = np.arange(10, dtype=np.float32)[None].copy()
    score_BI[0, 4] = np.nan
    ranked = rank(score_BI, queries_of([history]), 3)
    assert np.isnan(ranked.scores[0, 0, 0])
    assert ranked.items[0, 0].tolist() == [4, 9, 8]


def test_no_queries_give_empty_rankings() -> None:
    ranked = full_catalogue_topk(torch.zeros(0, 4), torch.zeros(6, 4), queries_of([]), 3)
    assert ranked.items.shape == (2, 0, 3)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="2 query vectors were given for 1 queries"):
        full_catalogue_topk(torch.zeros(2, 4), torch.zeros(6, 4), queries_of([[1]]), 3)
    with pytest.raises(ValueError, match=r"shape \(1, 5\), not \(1, 6\)"):
        topk_from_scores(lambda rows: torch.zeros(1, 5), queries_of([[1]]), 3, 6)


def test_blocks_of_items_join_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # Integers: products are exact, and equal scores straddle the borders of blocks.
    query_BD, item_ID = rng.integers(-2, 3, (40, 4)), rng.integers(-2, 3, (500, 4))
    queries = queries_of([rng.integers(0, 500, 12).tolist() for _ in range(40)])
    items, scores = reference((query_BD @ item_ID.T).astype(np.float32), queries, 20)
    for width in (500, 499, 64, 7):
        monkeypatch.setattr("recbench.nn.ranking.topk._MAX_BLOCK_ITEMS", width)
        ranked = full_catalogue_topk(torch.from_numpy(query_BD), torch.from_numpy(item_ID), queries, 20, block_bytes=4 * 9 * width)
        np.testing.assert_array_equal(ranked.items, items)
        np.testing.assert_array_equal(ranked.scores, scores)


def test_batch_composition_changes_scores_by_little() -> None:
    torch.manual_seed(0)
    query_BD, item_ID = torch.randn(97, 64), torch.randn(3000, 64) / 8
    queries = queries_of([[b, b + 1] for b in range(97)])
    together = full_catalogue_topk(query_BD, item_ID, queries, 50)
    for rows in (np.arange(1), np.array([50]), np.arange(96, -1, -1)):
        alone = full_catalogue_topk(query_BD[rows], item_ID, queries.take(rows), 50)
        np.testing.assert_allclose(alone.scores, together.scores[:, rows], atol=1e-5, rtol=1e-5)
