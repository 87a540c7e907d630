import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core.records import Interval
from recbench.evaluation import paired_bootstrap, two_level_bootstrap
from recbench.evaluation.intervals import cluster_sums, grouped, mean_intervals

DRAWS = 200_000
NDCG = np.concatenate([[0.0], 1 / np.log2(np.arange(10) + 2)])


def interval_of(values: np.ndarray) -> Interval:
    return mean_intervals(*grouped(values[:, None]))[0]


def agrees(interval: Interval, drawn: np.ndarray) -> None:
    """Whether the ends are quantiles of drawn means, up to the error of so many draws and a hundredth of their spread."""
    drawn, slack = np.sort(drawn), 0.01 * drawn.std() + 1e-12
    error = 4.5 * np.sqrt(0.025 * 0.975 / len(drawn))
    for level, end in ((0.025, interval.low), (0.975, interval.high)):
        assert np.searchsorted(drawn, end - slack, "left") / len(drawn) <= level + error
        assert np.searchsorted(drawn, end + slack, "right") / len(drawn) >= level - error


def drawn_means(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.multinomial(sizes.sum(), sizes / sizes.sum(), size=DRAWS // 10) @ values for _ in range(10)]) / sizes.sum()


# Rank by rank: values of a metric, ties of all kinds, numbers that are multiples of nothing
VALUES = st.one_of(
    st.sampled_from([NDCG, np.array([0.0, 1.0]), np.array([-1.0, 0.0, 1.0]), 1 / np.arange(1.0, 11), np.array([0, 1 / 3, 1 / 2, 1])]),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8, unique=True).map(np.array),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_ends_are_those_of_very_many_draws(data: st.DataObject) -> None:
    values = data.draw(VALUES)
    count = st.one_of(st.integers(1, 4), st.integers(1, 60), st.integers(1, 30_000))
    sizes = np.array([data.draw(count) for _ in values], dtype=np.int64)
    (interval,) = mean_intervals(values[:, None], sizes)
    assert interval.value == pytest.approx(values @ sizes / sizes.sum(), abs=1e-12)
    agrees(interval, drawn_means(values, sizes))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 20])
def test_few_users(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    agrees(interval_of(values), drawn_means(values, np.ones(n, dtype=np.int64)))


def test_no_hit_in_a_likely_resample_is_an_end_of_exactly_0() -> None:
    # Three hits among a thousand: 5 % of the resamples have none.
    assert interval_of(np.repeat([0.0, 0.63, 0.5, 1.0], [997, 1, 1, 1])).low == 0.0


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1 / 3])
def test_equal_users_have_no_spread(value: float) -> None:
    interval = interval_of(np.full(7, value))
    assert interval.low == interval.value == interval.high == pytest.approx(value)


def test_ends_of_a_share_are_the_binomial_quantiles() -> None:
    # Of 8 users of whom 2 hit: at most 4 with a chance of 0.9727, at most 5 with 0.9958; none with 0.1001.
    interval = interval_of(np.repeat([1.0, 0.0], [2, 6]))
    assert (interval.low, interval.high) == (0.0, 5 / 8)


def test_the_interval_covers_the_truth_in_about_95_of_100_cases() -> None:
    rng = np.random.default_rng(2024)
    covered = 0
    for _ in range(200):
        interval = interval_of((rng.random(400) < 0.2).astype(float))
        covered += interval.low <= 0.2 <= interval.high
    # 200 cases at 95 %: 190 expected, standard deviation 3.1.
    assert 180 <= covered <= 198


def test_the_interval_of_a_share_is_near_the_normal_one() -> None:
    interval = interval_of(np.repeat([1.0, 0.0], [600, 9_400]))
    half = 1.96 * np.sqrt(0.06 * 0.94 / 10_000)
    assert interval.value == pytest.approx(0.06)
    assert interval.low == pytest.approx(0.06 - half, abs=0.0004)
    assert interval.high == pytest.approx(0.06 + half, abs=0.0004)


def test_metrics_do_not_change_each_other() -> None:
    hit = (np.random.default_rng(0).random(300) < 0.3).astype(float)
    first, same, double = mean_intervals(*grouped(np.stack([hit, hit, 2 * hit], axis=1)))
    assert first == same == interval_of(hit)
    assert (double.low, double.high) == (pytest.approx(2 * first.low), pytest.approx(2 * first.high))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 300),
    seeds=st.sampled_from([(1, 1), (1, 3), (2, 2), (3, 3), (4, 5)]),
    n_clusters=st.sampled_from([0, 0, 3, 40]),
    seed=st.integers(0, 99),
)
def test_seeds_users_and_clusters_are_those_of_many_draws(n: int, seeds: tuple[int, int], n_clusters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shared = rng.integers(-20, 10, n)
    a, b = (NDCG[np.clip(np.where(rng.random((s, n)) < 0.2, rng.integers(0, 10, (s, n)), shared), -1, 9) + 1] for s in seeds)
    cluster = rng.integers(0, n_clusters, n) if n_clusters else None
    values = np.concatenate([a, b]).T
    sums = cluster_sums(values, np.arange(n) if cluster is None else cluster)
    drawn = []
    for _ in range(10):
        total = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=2_000) @ sums
        weight = [rng.multinomial(s, np.full(s, 1 / s), size=2_000) / s for s in seeds]
        drawn.append((total[:, :-1] / total[:, -1:] * np.concatenate([weight[0], -weight[1]], axis=1)).sum(axis=1))
    agrees(two_level_bootstrap(a, b, cluster=cluster), np.concatenate(drawn))
    if seeds == (1, 1):
        assert paired_bootstrap(a[0], b[0], cluster=cluster).low == pytest.approx(two_level_bootstrap(a, b, cluster=cluster).low)
