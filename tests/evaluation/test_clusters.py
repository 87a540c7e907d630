"""Users who are not independent of each other are drawn together."""

import math

import numpy as np
import pytest

from recbench.core.ragged import Targets
from recbench.evaluation import compare_with_best, minimum_detectable_difference, paired_bootstrap, sign_flip_test, two_level_bootstrap
from recbench.evaluation.intervals import user_intervals

VALUES = np.array([[0.9], [0.9], [0.9], [0.1], [0.1], [0.1]])
TWO = np.array([7, 7, 7, 3, 3, 3], dtype=np.int64)


def test_two_clusters_of_equal_users_have_the_interval_of_two_users() -> None:
    (ours,) = user_intervals(VALUES, TWO)
    (two,) = user_intervals(VALUES[[0, 3]], None)
    assert (ours.value, ours.low, ours.high) == pytest.approx((two.value, two.low, two.high), abs=1e-12)
    (six,) = user_intervals(VALUES, None)
    assert ours.high - ours.low > six.high - six.low


def test_clusters_of_one_user_change_nothing() -> None:
    values = np.random.default_rng(0).random((40, 2))
    alone = user_intervals(values, np.arange(40)[::-1])
    for found, expected in zip(alone, user_intervals(values, None), strict=True):
        assert found.value == pytest.approx(expected.value)
        assert found.low == pytest.approx(expected.low, abs=1e-9)


def test_the_mean_is_over_users_whatever_the_sizes_of_clusters() -> None:
    values, cluster = np.array([[1.0], [0.0], [0.0], [0.0]]), np.array([1, 2, 2, 2])
    (found,) = user_intervals(values, cluster)
    assert found.value == 0.25
    # Draws are (1, 1), (1, 2), (2, 2): the middle one has four users, not two halves.
    assert (found.low, found.high) == (0.0, 1.0)


def test_paired_tests_take_clusters_as_one() -> None:
    generator = np.random.default_rng(1)
    of_cluster = generator.normal(0.02, 0.1, 30)
    cluster = np.repeat(np.arange(30), 4)
    a, b = np.repeat(of_cluster, 4), np.zeros(120)
    together, apart = paired_bootstrap(a, b, cluster=cluster), paired_bootstrap(a, b)
    assert together.value == pytest.approx(apart.value)
    assert (together.high - together.low) == pytest.approx(2 * (apart.high - apart.low), rel=0.15)
    assert sign_flip_test(a, b, cluster=cluster) == sign_flip_test(of_cluster, np.zeros(30))
    assert minimum_detectable_difference(a, b, cluster) == pytest.approx(minimum_detectable_difference(of_cluster, np.zeros(30)))
    seeds = two_level_bootstrap(np.stack([a, a]), b, cluster=cluster)
    assert (seeds.low, seeds.high) == pytest.approx((together.low, together.high), abs=0.01)
    (test,) = compare_with_best({"a": a, "b": b}, cluster=cluster)
    assert test.p == sign_flip_test(a, b, cluster=cluster)
    assert test.difference == together
    assert test.minimum_detectable == minimum_detectable_difference(a, b, cluster)


def test_a_single_cluster_says_nothing_about_the_spread() -> None:
    assert minimum_detectable_difference(VALUES[:, 0], np.zeros(6), np.zeros(6, dtype=np.int64)) == 0.0


def test_recall_and_ndcg_of_sets_are_those_of_the_definition() -> None:
    """Hits at ranks 1 and 4 of three, at 2 and 3 of eight."""
    from recbench.evaluation import values_per_user

    targets = Targets.from_lists([[0, 1, 2], list(range(8))])
    rank = np.array([0, 3, -1, 1, 2, -1, -1, -1, -1, -1, -1], dtype=np.int16)
    recall, ndcg = values_per_user(rank, targets.offsets, ["recall@5", "ndcg@5"]).T
    assert recall == pytest.approx([2 / 3, 0.25])
    assert ndcg == pytest.approx([0.671386, 0.383566], abs=1e-6)
    assert math.isclose(values_per_user(np.array([2], np.int16), np.array([0, 1]), ["ndcg@5"])[0, 0], 0.5)
