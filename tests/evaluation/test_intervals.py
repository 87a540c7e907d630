import numpy as np
import pytest

from recbench.core.seeds import frozen_generator
from recbench.evaluation.intervals import bootstrap_means, grouped, resampled_sizes


def interval_of(values: np.ndarray, seed: int = 0, resamples: int = 1_000):
    return bootstrap_means(*grouped(values[:, None]), frozen_generator(seed), resamples)[0]


def test_the_interval_covers_the_truth_in_about_95_of_100_cases() -> None:
    rng = np.random.default_rng(2024)
    covered = 0
    for trial in range(200):
        interval = interval_of((rng.random(400) < 0.2).astype(float), seed=trial)
        covered += interval.low <= 0.2 <= interval.high
    # 200 cases at 95 %: 190 expected, standard deviation 3.1.
    assert 180 <= covered <= 198


@pytest.mark.parametrize("n_groups", [3, 600])
def test_both_ways_of_drawing_have_the_mean_and_the_spread_of_a_bootstrap(n_groups: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.random(n_groups)[rng.integers(0, n_groups, 900)]
    groups, sizes = grouped(values[:, None])
    drawn = np.concatenate(list(resampled_sizes(sizes, 4_000, frozen_generator(0))))
    assert (drawn.sum(axis=1) == 900).all()
    means = drawn @ groups[:, 0] / 900
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(900 * 4_000))
    assert means.std() == pytest.approx(values.std() / np.sqrt(900), rel=0.05)


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(500)
    whole = interval_of(values)
    monkeypatch.setattr("recbench.evaluation.intervals._CELLS_AT_A_TIME", 6_000)
    assert interval_of(values) == whole


def test_the_interval_of_a_share_is_near_the_normal_one() -> None:
    values = np.repeat([1.0, 0.0], [600, 9_400])
    interval = interval_of(values)
    half = 1.96 * np.sqrt(0.06 * 0.94 / 10_000)
    assert interval.value == pytest.approx(0.06)
    assert interval.low == pytest.approx(0.06 - half, abs=0.0004)
    assert interval.high == pytest.approx(0.06 + half, abs=0.0004)


def test_metrics_of_the_same_users_come_from_the_same_resamples() -> None:
    hit = (np.random.default_rng(0).random(300) < 0.3).astype(float)
    first, same, double = bootstrap_means(*grouped(np.stack([hit, hit, 2 * hit], axis=1)), frozen_generator(5))
    assert first == same
    assert (double.low, double.high) == (pytest.approx(2 * first.low), pytest.approx(2 * first.high))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([70, 200, 30], [[72, 201, 27], [72, 207, 21], [73, 202, 25]]),
        ([2, 1, 3], [[0, 3, 3], [3, 0, 3], [4, 1, 1]]),
    ],
)
def test_draws_are_the_same_under_every_numpy(sizes: list[int], expected: list[list[int]]) -> None:
    # Written down under NumPy 2.4 and found again under 2.5, which changed the binomial draws of `Generator`.
    drawn = next(resampled_sizes(np.array(sizes), 3, frozen_generator(7, "stream")))
    assert drawn.tolist() == expected
