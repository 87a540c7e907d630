import numpy as np
import pytest

from recbench.evaluation.intervals import Draws, bootstrap_means, grouped, intervals, sums


def interval_of(values: np.ndarray, seed: int = 0, resamples: int = 1_000):
    return intervals(*bootstrap_means(*grouped(values[:, None]), Draws(seed), resamples))[0]


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
    drawn = np.concatenate(list(Draws(0).sizes(sizes, 4_000)), axis=1)
    assert (drawn.sum(axis=0) == 900).all()
    means = groups[:, 0] @ drawn / 900
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
    first, same, double = intervals(*bootstrap_means(*grouped(np.stack([hit, hit, 2 * hit], axis=1)), Draws(5)))
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
    drawn = next(Draws(7, "stream").sizes(np.array(sizes), 3))
    assert drawn.T.tolist() == expected


@pytest.mark.parametrize("sizes", [[70, 200, 30, 40], [2, 1, 3, 4]])
def test_a_table_is_drawn_alike_whatever_was_drawn_before(sizes: list[int]) -> None:
    first = np.array(sizes)
    alone = list(Draws(7).sizes(first, 2_500))
    used = Draws(7)
    for other in (first[::-1].copy(), np.array([sum(sizes) - 1, 1]), np.array([3, 2])):
        list(used.sizes(other, 2_500, n_counted=1))
    np.testing.assert_array_equal(np.concatenate(list(used.sizes(first, 2_500)), axis=1), np.concatenate(alone, axis=1))
    after = Draws(7)
    list(after.sizes(first, 2_500))
    assert used.rng.randint(1 << 30) == after.rng.randint(1 << 30)


@pytest.mark.parametrize("sizes", [[70, 200, 30, 40], [2, 1, 3, 4]])
def test_groups_that_nobody_asks_for_change_no_draw_of_the_others(sizes: list[int]) -> None:
    whole = np.concatenate(list(Draws(7).sizes(np.array(sizes), 2_500)), axis=1)
    some = np.concatenate(list(Draws(7).sizes(np.array(sizes), 2_500, n_counted=2)), axis=1)
    np.testing.assert_array_equal(some, whole[:2])


@pytest.mark.parametrize("n_groups", [1, 7, 8, 9, 51, 128, 129, 300, 601])
def test_sums_are_those_of_numpy_to_the_last_bit(n_groups: int) -> None:
    # Published figures were added up by NumPy's sum along the last axis.
    rng = np.random.default_rng(n_groups)
    sizes, values = rng.integers(0, 40, (n_groups, 30)), rng.normal(size=(n_groups, 2))
    values[rng.random(n_groups) < 0.4] = 0
    expected = [np.ascontiguousarray((sizes * column[:, None]).T).sum(axis=1) for column in values.T]
    assert sums(sizes, values).tolist() == np.stack(expected).tolist()
