import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import SplitMismatch
from recbench.evaluation import (
    compare_with_best,
    holm,
    mean_interval,
    minimum_detectable_difference,
    paired_bootstrap,
    sign_flip_test,
    two_level_bootstrap,
)
from recbench.evaluation.sign_flips import SMALLEST_P


def ndcg(rng: np.random.Generator, n: int, hit_share: float) -> np.ndarray:
    """Values of n users, as NDCG@10 gives them."""
    rank = rng.integers(0, 10, n)
    return np.where(rng.random(n) < hit_share, 1 / np.log2(rank + 2), 0.0)


def test_a_model_does_not_differ_from_itself() -> None:
    a = ndcg(np.random.default_rng(0), 500, 0.2)
    interval = paired_bootstrap(a, a)
    assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)
    interval = two_level_bootstrap(a, a)
    assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert sign_flip_test(a, a) == 1.0
    assert minimum_detectable_difference(a, a) == 0.0


def test_the_paired_interval_is_near_the_normal_one() -> None:
    rng = np.random.default_rng(2)
    a, b = ndcg(rng, 5_000, 0.20), ndcg(rng, 5_000, 0.18)
    interval = paired_bootstrap(a, b)
    error = (a - b).std(ddof=1) / np.sqrt(5_000)
    assert interval.value == pytest.approx((a - b).mean())
    assert mean_interval(a - b) == interval
    assert interval.low == pytest.approx((a - b).mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx((a - b).mean() + 1.96 * error, abs=0.1 * error)
    assert minimum_detectable_difference(a, b) == pytest.approx(2.8 * error)


def test_pairing_finds_what_separate_intervals_hide() -> None:
    rng = np.random.default_rng(3)
    b = ndcg(rng, 2_000, 0.2)
    a = b + (rng.random(2_000) < 0.02) * 0.1
    assert paired_bootstrap(a, b).low > 0
    assert sign_flip_test(a, b) < 0.001


def test_the_paired_interval_covers_the_truth_in_about_95_of_100_cases() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        b = (rng.random(300) < 0.3).astype(float)
        a = np.where(rng.random(300) < 0.1, 1.0, b)
        interval = paired_bootstrap(a, b)
        covered += interval.low <= 0.07 <= interval.high
    assert 180 <= covered <= 198


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([-1.0, -0.63093, -0.5, 0.0, 0.1, 0.5, 1 / 3, 1.0, 9.0]) | st.floats(-1, 1), min_size=1, max_size=12))
def test_the_sign_flip_test_of_few_users_counts_all_signs(differences: list[float]) -> None:
    difference = np.array(differences)
    flips = np.abs(np.array(list(itertools.product((-1, 1), repeat=len(difference)))) @ difference)
    exact = np.mean(flips >= abs(difference.sum()) - 1e-12 * np.abs(difference).sum())
    assert sign_flip_test(difference, 0 * difference) == pytest.approx(exact)
    assert sign_flip_test(0 * difference, difference) == pytest.approx(exact)


@pytest.mark.parametrize("n", [60, 300, 3_000, 100_000])
def test_the_sign_flip_test_of_many_users_is_that_of_many_signs(n: int) -> None:
    rng = np.random.default_rng(n)
    difference = ndcg(rng, n, 0.2) - ndcg(rng, n, 0.2 + 0.4 / np.sqrt(n))
    sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    flips = np.abs((2 * rng.binomial(counts, 0.5, size=(40_000, len(counts))) - counts) @ sizes)
    share = np.mean(flips >= abs(difference.sum()) * (1 - 1e-12))
    p = sign_flip_test(difference, np.zeros(n))
    assert p == pytest.approx(share, abs=4.5 * np.sqrt(p * (1 - p) / 40_000))


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    p = [sign_flip_test(*(ndcg(rng, 200, 0.2) for _ in range(2))) for _ in range(300)]
    # 15 of 300 expected below 0.05, standard deviation 3.8.
    assert 4 <= np.count_nonzero(np.array(p) < 0.05) <= 27
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("sizes", [[1.0], [0.3, 1.0, 0.6, 0.123, 0.77, 0.41]])
def test_no_p_value_is_zero(sizes: list[float]) -> None:
    a = np.repeat(sizes, 200)
    assert sign_flip_test(a, 0 * a) == SMALLEST_P


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert all(adjusted[i] <= adjusted[j] for i in range(len(adjusted)) for j in range(len(adjusted)) if p_values[i] < p_values[j])


def test_several_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(6)
    users = rng.random(2_000) * 0.1
    seeds_a = np.stack([users + shift for shift in (0.00, 0.01, 0.03)])
    alone = two_level_bootstrap(seeds_a[1], users)
    several = two_level_bootstrap(seeds_a, users)
    assert several.value == pytest.approx(0.04 / 3)
    assert alone.high - alone.low < 1e-12
    # One draw of three seeds in 27, more than 2.5 %, takes the worst three times, and as many the best.
    assert (several.low, several.high) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.03))


def test_the_same_users_are_drawn_for_all_seeds() -> None:
    users = np.random.default_rng(7).random(400)
    interval = two_level_bootstrap(np.stack([users, users]), np.stack([users, users, users]))
    assert (interval.low, interval.high) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_the_best_row_meets_each_other_row() -> None:
    rng = np.random.default_rng(8)
    weak, middle, strong = (ndcg(rng, 4_000, share) for share in (0.10, 0.20, 0.205))
    pairs = compare_with_best({"weak": weak, "strong": np.stack([strong, strong, strong]), "middle": middle})
    assert [(pair.best, pair.other) for pair in pairs] == [("strong", "middle"), ("strong", "weak")]
    near, far = pairs
    assert far.difference.value == pytest.approx(strong.mean() - weak.mean())
    assert far.difference.low > 0
    assert far.p == SMALLEST_P
    assert far.p_holm == 2 * SMALLEST_P
    assert near.p_holm == near.p > 0.01
    assert near.difference.low < 0 < near.difference.high
    assert abs(near.difference.value) < near.minimum_detectable
    assert (near.n_users, near.seeds_best, near.seeds_other) == (4_000, 3, 1)


def test_equal_rows_are_ordered_by_name() -> None:
    values = np.array([0.0, 1.0, 0.5])
    (pair,) = compare_with_best({"b": values, "a": values[::-1].copy()})
    assert (pair.best, pair.other, pair.difference.value) == ("a", "b", 0.0)
    assert compare_with_best({"a": values}) == []
    assert compare_with_best({}) == []


def test_rows_of_different_users_are_refused() -> None:
    with pytest.raises(SplitMismatch, match="row 'b' has 3, another 4"):
        compare_with_best({"a": np.zeros(4), "b": np.zeros((2, 3))})
    with pytest.raises(SplitMismatch, match="one side has 2, another 3"):
        paired_bootstrap(np.zeros(3), np.zeros(2))
    with pytest.raises(SplitMismatch, match=r"has shape \(1, 0\)"):
        sign_flip_test(np.zeros(0), np.zeros(0))


def test_one_user_has_no_spread() -> None:
    assert minimum_detectable_difference(np.ones(1), np.zeros(1)) == 0.0
