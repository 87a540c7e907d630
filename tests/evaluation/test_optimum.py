"""The best lists and what is expected of them, by hand."""

import numpy as np
import pytest

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
