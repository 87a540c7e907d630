"""The best lists and what is expected of them, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadRequest
from recbench.core.ragged import Histories
from recbench.evaluation import best_lists, expected_values

CHANCE = np.array([[0.1, 0.4, 0.1, 0.4], [0.0, 0.0, 1.0, 0.0]])
HISTORIES = Histories.from_lists([[1], [2, 0, 2]])


def test_the_likeliest_come_first_and_equal_ones_by_row() -> None:
    lists = best_lists(CHANCE, HISTORIES, ("keep", "unseen"), 4)
    assert lists.view("keep").tolist() == [[1, 3, 0, 2], [2, 0, 1, 3]]
    assert lists.view("unseen").tolist() == [[3, 0, 2, -1], [1, 3, -1, -1]]


def test_the_expected_value_is_the_sum_over_places() -> None:
    lists = best_lists(CHANCE, HISTORIES, ("keep", "unseen"), 4)
    second = 1 / np.log2(3)
    mean, variance = expected_values(CHANCE, lists.view("keep"), "ndcg@2")
    np.testing.assert_allclose(mean, [0.4 + 0.4 * second, 1.0])
    np.testing.assert_allclose(variance, [0.4 + 0.4 * second**2 - mean[0] ** 2, 0.0], atol=1e-15)
    np.testing.assert_allclose(expected_values(CHANCE, lists.view("unseen"), "ndcg@2")[0], [0.4 + 0.1 * second, 0.0])
    np.testing.assert_allclose(expected_values(CHANCE, lists.view("unseen"), "recall@10"), [[0.6, 0.0], [0.24, 0.0]])
    with pytest.raises(BadRequest, match="no metric 'ndcg'"):
        expected_values(CHANCE, lists.view("keep"), "ndcg")


@given(seed=st.integers(0, 1_000), metric=st.sampled_from(["ndcg@3", "recall@3", "mrr@3", "ndcg@10"]))
def test_no_list_is_expected_to_do_better(seed: int, metric: str) -> None:
    draw = np.random.default_rng(seed)
    chance = draw.dirichlet(np.full(8, 0.3), size=5)
    histories = Histories.from_lists(draw.integers(0, 8, (5, 2)).tolist())
    best = best_lists(chance, histories, ("keep", "unseen"), 8)
    other = draw.permuted(np.tile(np.arange(8, dtype=np.int32), (5, 1)), axis=1)
    is_seen = (other[:, :, None] == histories.item.reshape(5, 1, 2)).any(axis=2)
    for view, lists in (("keep", other), ("unseen", np.where(is_seen, -1, other))):
        assert (expected_values(chance, lists, metric)[0] <= expected_values(chance, best.view(view), metric)[0] + 1e-12).all()
