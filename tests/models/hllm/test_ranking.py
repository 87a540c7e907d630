"""Both ways to find the nearest items are a sort of all of them."""

import hllm_case as case
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import VIEWS
from recbench.nn.ranking.flat_index import flat_index_topk
from recbench.nn.ranking.topk import full_catalogue_topk
from recbench.testing import queries
from recbench_models.hllm.answers import Answers


def sorted_by_hand(query: np.ndarray, items: np.ndarray, history: list[int], k: int, view: str) -> list[int]:
    score = items @ query
    rows = [row for row in range(len(items)) if view == "keep" or row not in history]
    return (sorted(rows, key=lambda row: (-score[row], row))[:k] + [-1] * k)[:k]


@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 25))
@settings(max_examples=40, deadline=None)
def test_flat_index_blocks_and_a_sort_agree_with_ties(seed: int, n_items: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers: sums are exact in any order, and many scores are equal.
    items, asked = (rng.integers(-2, 3, (n, 4)).astype(np.float32) for n in (n_items, 6))
    histories = [rng.integers(0, n_items, rng.integers(0, 5)).tolist() for _ in range(6)]
    for search in (flat_index_topk, full_catalogue_topk):
        found = search(torch.from_numpy(asked), torch.from_numpy(items), queries(histories), k)
        for v, view in enumerate(VIEWS):
            for row, history in enumerate(histories):
                assert found.items[v, row].tolist() == sorted_by_hand(asked[row], items, history, k, view)


def test_real_numbers_give_both_the_same_lists() -> None:
    rng = np.random.default_rng(0)
    items, asked = (torch.from_numpy(rng.normal(size=(n, 16)).astype(np.float32)) for n in (500, 40))
    histories = [rng.integers(0, 500, 12).tolist() for _ in range(40)]
    left, right = (search(asked, items, queries(histories), 20) for search in (flat_index_topk, full_catalogue_topk))
    np.testing.assert_array_equal(left.items, right.items)
    np.testing.assert_allclose(left.scores, right.scores, rtol=1e-5)


@pytest.mark.parametrize("search", ["blocks", "faiss"])
def test_scores_are_cosines_without_the_temperature(search: str) -> None:
    config = case.config(search=search)
    user = case.user_side(config)
    vectors = np.random.default_rng(0).normal(size=(case.N_ITEMS + 1, case.WIDTH)).astype(np.float32)
    asked = queries([[3, 4], [], list(range(20))])
    found = Answers(user, vectors, config, 0).rank(asked, case.N_ITEMS)
    for row, history in enumerate(([3, 4], [case.N_ITEMS], list(range(20))[-config.sequences.max_length :])):
        with torch.no_grad():
            state = user.tower(torch.from_numpy(vectors[history])[None])[0, -1].numpy()
        cosine = vectors[:-1] @ state / np.linalg.norm(vectors[:-1], axis=1) / np.linalg.norm(state)
        np.testing.assert_allclose(found.scores[0, row], np.sort(cosine)[::-1], atol=1e-5)
        assert sorted(found.items[0, row].tolist()) == list(range(case.N_ITEMS))
