import math
from itertools import permutations

import numpy as np
import pytest

from recbench.core import Rankings, Targets
from recbench.evaluation import expected_hit, expected_mrr, expected_ndcg, list_diagnostics, tie_sensitivity
from tests.evaluation.scored import random_scored, slow_metric


def counts(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_two_better_three_equal_four_places() -> None:
    assert expected_hit(counts(2), counts(3), 4)[0] == pytest.approx(2 / 3)
    assert expected_ndcg(counts(2), counts(3), 4)[0] == pytest.approx((1 / math.log2(4) + 1 / math.log2(5)) / 3)
    assert expected_mrr(counts(2), counts(3), 4)[0] == pytest.approx((1 / 3 + 1 / 4) / 3)


@pytest.mark.parametrize("k", [5, 10, 20, 50])
def test_a_constant_scorer_hits_by_chance_only(k: int) -> None:
    n_items, n_seen = counts(200, 200), counts(0, 13)
    np.testing.assert_allclose(expected_hit(counts(0, 0), n_items - n_seen, k), k / (n_items - n_seen))


def test_without_ties_the_expectation_is_the_metric() -> None:
    better = np.arange(12)
    one = np.ones(12, dtype=np.int64)
    for row in better:
        ranking = [100 + item for item in range(row)] + [7]
        assert expected_hit(better, one, 10)[row] == slow_metric("recall@10", ranking, [7])
        assert expected_ndcg(better, one, 10)[row] == pytest.approx(slow_metric("ndcg@10", ranking, [7]))
        assert expected_mrr(better, one, 10)[row] == pytest.approx(slow_metric("mrr@10", ranking, [7]))


def test_expectations_are_means_over_all_orders() -> None:
    # Items 0 and 1 are better; 2 (the target), 3, 4 are tied; 5 is worse.
    orders = [[0, 1, *middle, 5] for middle in permutations([2, 3, 4])]
    for k in (1, 2, 3, 4, 5, 6):
        for kind, expectation in (("recall", expected_hit), ("ndcg", expected_ndcg), ("mrr", expected_mrr)):
            mean = np.mean([slow_metric(f"{kind}@{k}", order, [2]) for order in orders])
            assert expectation(counts(2), counts(3), k)[0] == pytest.approx(mean)


def test_tie_sensitivity_by_hand() -> None:
    items = np.array([[[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, -1, -1]]], dtype=np.int32)
    scores = np.array([[[9, 5, 5, 5], [9, 8, 7, 7], [1, 0, -np.inf, -np.inf]]], dtype=np.float32)
    rankings = Rankings(("keep",), items, scores)
    # Tied in places 2 to 4; alone in place 1; not found.
    figures = tie_sensitivity(rankings, Targets.from_lists([[2], [0], [3]]), 10)
    tied = (1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)) / 3
    assert figures == {
        "ndcg@10_random_ties_keep": pytest.approx((tied + 1 + 0) / 3),
        "tied_targets_keep": 0.5,
        "tie_size_keep": 2.0,
    }


def test_tie_sensitivity_of_sets_by_hand() -> None:
    rankings = Rankings(("keep",), np.array([[[0, 1, 2]]], np.int32), np.array([[[3, 1, 1]]], np.float32))
    figures = tie_sensitivity(rankings, Targets.from_lists([[0, 2]]), 10)
    second = (1 / math.log2(3) + 1 / math.log2(4)) / 2
    assert figures["ndcg@10_random_ties_keep"] == pytest.approx((1 + second) / (1 + 1 / math.log2(3)))
    assert figures["tied_targets_keep"] == 0.5


def test_no_figure_without_a_found_target() -> None:
    rankings = Rankings(("keep",), np.array([[[0, 1]]], np.int32), np.array([[[3, 1]]], np.float32))
    assert tie_sensitivity(rankings, Targets.from_lists([[5]]), 10) == {"ndcg@10_random_ties_keep": 0.0}
    assert tie_sensitivity(rankings, Targets.from_lists([[]]), 10) == {}


def test_short_lists_are_counted() -> None:
    scored = random_scored(np.random.default_rng(0), n_users=20, n_items=12)
    figures = list_diagnostics(scored.rankings(12))
    seen = np.array([len(set(scored.histories[row].tolist())) for row in range(20)])
    assert figures == {
        "list_length_mean_keep": 12.0,
        "short_lists_keep": 0.0,
        "list_length_mean_unseen": pytest.approx((12 - seen).mean()),
        "short_lists_unseen": pytest.approx((seen > 0).mean()),
    }
