import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core.records import Interval
from recbench.evaluation.intervals import grouped, intervals_of_users, mean_intervals, sums


def interval_of(values: np.ndarray) -> Interval:
    return intervals_of_users(values[:, None])[0]


def drawn_means(values: np.ndarray, draws: int = 40_000) -> np.ndarray:
    """Means of users drawn with replacement."""
    distinct, sizes = np.unique(values, return_counts=True)
    return np.random.default_rng(0).multinomial(len(values), sizes / len(values), size=draws) @ distinct / len(values)


def test_the_interval_covers_the_truth_in_about_95_of_100_cases() -> None:
    rng = np.random.default_rng(2024)
    covered = 0
    for _ in range(400):
        interval = interval_of((rng.random(400) < 0.2).astype(float))
        covered += interval.low <= 0.2 <= interval.high
    # 400 cases at 95 %: 380 expected, standard deviation 4.4.
    assert 366 <= covered <= 394


@given(
    n=st.sampled_from([2, 7, 40, 943, 22_363, 1_000_000]),
    shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=11),
    places=st.lists(st.integers(0, 20), min_size=11, max_size=11, unique=True),
)
def test_ends_are_those_of_many_draws(n: int, shares: list[float], places: list[int]) -> None:
    """Heavy ties, a handful of hits among many users, all equal: half a step of one user apart at most, besides the error of the draws."""
    sizes = np.floor(np.array(shares) ** 8 * n / len(shares)).astype(np.int64)
    sizes[0] += n - sizes.sum()
    value_G = np.array(places[: len(sizes)]) / 20
    ((found,),) = mean_intervals([(value_G[:, None], sizes)])
    means = np.random.default_rng(0).multinomial(n, sizes / n, size=20_000) @ value_G / n
    low, high = np.quantile(means, [0.025, 0.975])
    near_low, near_high = np.quantile(means, [0.02, 0.97]), np.quantile(means, [0.03, 0.98])
    step = np.ptp(value_G) / n
    assert near_low[0] - step <= found.low <= near_high[0] + step, (low, found)
    assert near_low[1] - step <= found.high <= near_high[1] + step, (high, found)
    assert value_G.min() - 1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= value_G.max() + 1e-12


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.0, 0.0, 1.0], [0.2, 0.5, 0.9], [0.0, 0.0, 0.0, 0.3, 1.0], [1.0, 0.63, 0.0, 0.0, 0.5]])
def test_few_users_have_the_interval_of_all_their_draws(values: list[float]) -> None:
    means = np.sort([np.mean(draw) for draw in itertools.product(values, repeat=len(values))])
    found = interval_of(np.array(values))
    # The curve through the steps of so few users lies within one user's share of them.
    ends = means[[int(np.ceil(0.025 * len(means))) - 1, int(np.ceil(0.975 * len(means))) - 1]]
    assert (found.low, found.high) == (pytest.approx(ends[0], abs=0.5 / len(values)), pytest.approx(ends[1], abs=0.5 / len(values)))


def test_steps_of_a_handful_of_hits_are_exact() -> None:
    # Three hits of 1,000 users: drawn anew they are a binomial number with 2.5 % at 0 and 97.5 % at 7.
    found = interval_of(np.repeat([1.0, 0.0], [3, 997]))
    assert (found.value, found.low, found.high) == (0.003, 0.0, pytest.approx(0.007))


def test_the_interval_of_a_share_is_near_the_normal_one() -> None:
    interval = interval_of(np.repeat([1.0, 0.0], [600, 9_400]))
    half = 1.96 * np.sqrt(0.06 * 0.94 / 10_000)
    assert interval.value == pytest.approx(0.06)
    assert interval.low == pytest.approx(0.06 - half, abs=0.0002)
    assert interval.high == pytest.approx(0.06 + half, abs=0.0002)


def test_a_skewed_mean_leans_as_its_draws_do() -> None:
    values = np.repeat([0.0, 0.1, 1.0], [950, 30, 20])
    found, means = interval_of(values), drawn_means(values)
    assert found.high - found.value > 1.1 * (found.value - found.low)
    for end, tail in ((found.low, 0.025), (found.high, 0.975)):
        assert np.mean(means <= end) == pytest.approx(tail, abs=0.004)


def test_twice_the_values_have_twice_the_interval() -> None:
    hit = (np.random.default_rng(0).random(300) < 0.3).astype(float)
    first, same, double = mean_intervals([grouped(np.stack([hit, hit, 2 * hit], axis=1))])[0]
    assert first == same
    assert (double.low, double.high) == (pytest.approx(2 * first.low), pytest.approx(2 * first.high))


def test_equal_users_have_no_spread() -> None:
    for value in (0.0, 0.1, 1.0):
        found = interval_of(np.full(7, value))
        assert (found.low, found.high) == (pytest.approx(value, abs=1e-16), pytest.approx(value, abs=1e-16))
    assert interval_of(np.array([0.3])) == Interval(value=0.3, low=0.3, high=0.3)


def test_tables_do_not_change_each_other() -> None:
    rng = np.random.default_rng(3)
    tables = [grouped(rng.integers(0, 5, (n, 2)) / 4.0) for n in (3, 50, 400)]
    together = mean_intervals(tables)
    for table, found in zip(tables, together, strict=True):
        for one, other in zip(mean_intervals([table])[0], found, strict=True):
            assert (one.value, one.low, one.high) == (
                other.value,
                pytest.approx(other.low, abs=1e-12),
                pytest.approx(other.high, abs=1e-12),
            )


@pytest.mark.parametrize("n_groups", [1, 7, 8, 9, 51, 128, 129, 300, 601])
def test_sums_are_those_of_numpy_to_the_last_bit(n_groups: int) -> None:
    # Published figures were added up by NumPy's sum along the last axis.
    rng = np.random.default_rng(n_groups)
    sizes, values = rng.integers(0, 40, (n_groups, 30)), rng.normal(size=(n_groups, 2))
    values[rng.random(n_groups) < 0.4] = 0
    expected = [np.ascontiguousarray((sizes * column[:, None]).T).sum(axis=1) for column in values.T]
    assert sums(sizes, values).tolist() == np.stack(expected).tolist()
