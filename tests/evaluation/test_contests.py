"""Models across contests: drawings, ranks, strengths, agreement, critical differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from recbench.evaluation import (
    Contests,
    agreement,
    bradley_terry,
    critical_difference,
    drawn_difference,
    drawn_means,
    groups_within,
)
from recbench.evaluation.contests import ranks


def exactly(*values: list[float], drawings: int = 40) -> Contests:
    """Contests whose drawings all give the same values."""
    value_CM = np.array(values)
    return Contests(value_CM, np.repeat(value_CM[:, None, :], drawings, axis=1))


def test_drawings_are_those_of_users_and_the_same_for_all_models() -> None:
    rng = np.random.default_rng(0)
    value_U = (rng.random(400) < 0.3) / np.log2(2 + rng.integers(0, 9, 400))
    drawn = drawn_means(np.stack([value_U, value_U, 1.0 - value_U], axis=1), "a test")
    assert drawn.shape == (500, 3)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    np.testing.assert_allclose(drawn[:, 0] + drawn[:, 2], 1.0, atol=1e-8)
    # The spread of a mean of 400 users.
    assert drawn[:, 0].std() == pytest.approx(value_U.std() / 20, rel=0.15)
    assert abs(drawn[:, 0].mean() - value_U.mean()) < 3 * value_U.std() / 20 / math.sqrt(500) + 1e-3
    # Neither another model beside it nor the number of drawings changes one; another test does.
    np.testing.assert_array_equal(drawn_means(value_U[:, None], "a test", drawings=7)[:, 0], drawn[:7, 0])
    assert not np.array_equal(drawn_means(value_U[:, None], "another", drawings=7)[:, 0], drawn[:7, 0])


def test_models_of_equal_records_are_equally_strong() -> None:
    """To the last bit: else their order, and the pairs that are predicted, would follow from rounding."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        order_CM = rng.permuted(np.tile(np.arange(12), (4, 1)), axis=1)
        wins_CMM = order_CM[:, :, None] > order_CM[:, None, :]
        strength_M = bradley_terry(wins_CMM.sum(axis=0, dtype=np.float64)[None])[0]
        # All meet all equally often, so that the number of wins decides.
        won_M = order_CM.sum(axis=0)
        np.testing.assert_array_equal(np.sign(np.subtract.outer(strength_M, strength_M)), np.sign(np.subtract.outer(won_M, won_M)))
        assert not np.signbit(strength_M[strength_M == 0]).any()


def test_drawings_without_a_model_say_nothing_about_it() -> None:
    """A model on one data set of four is in two of three drawings; in the others it is not as strong as the made-up one."""
    first, *others = exactly([0.4, 0.3, 0.2, 0.1], *[[math.nan, 0.3, 0.2, 0.1]] * 3, drawings=500).strengths()
    assert first.value > others[0].value
    assert 0 < first.low <= first.value <= first.high


def test_models_that_are_level_everywhere_do_not_differ() -> None:
    assert critical_difference(np.full((3, 4), 0.2)).p == 1.0


@pytest.mark.parametrize("n_users", [300, 2_048, 30_000])
def test_drawings_vary_together_as_those_of_drawn_users(n_users: int) -> None:
    rng = np.random.default_rng(n_users)
    base_U = rng.random(n_users) < 0.2
    values_UM = np.stack([base_U, base_U & (rng.random(n_users) < 0.8), rng.random(n_users) < 0.3], axis=1).astype(np.float64)
    found_MM = np.cov(drawn_means(values_UM, "a test", drawings=4_000).T) * n_users
    np.testing.assert_allclose(found_MM, np.cov(values_UM.T), atol=0.02)


def test_equal_values_share_the_middle_of_their_ranks() -> None:
    assert ranks(np.array([[0.3, 0.1, 0.3, 0.2]])).tolist() == [[1.5, 4.0, 1.5, 3.0]]


def test_mean_ranks_over_contests() -> None:
    found = exactly([0.3, 0.2, 0.1], [0.3, 0.1, 0.2], [0.3, 0.2, 0.1], drawings=400).mean_ranks()
    assert [round(one.value, 6) for one in found] == [1.0, 2.333333, 2.666667]
    assert (found[0].low, found[0].high) == (1.0, 1.0)
    # Three contests drawn anew: in one drawing of 27 all of them are the second.
    assert (found[1].low, found[1].high) == (2.0, 3.0)


def test_strengths_of_two_models_in_closed_form() -> None:
    # Three wins and one loss, and half a win and half a loss against the made-up one: the log likelihood's slope is 0.
    (one, other) = bradley_terry(np.array([[[0.0, 3.0], [1.0, 0.0]]]))[0]
    assert one == pytest.approx(-other)
    slope = 3 - 4 / (1 + math.exp(other - one)) + 0.5 - 1 / (1 + math.exp(-one))
    assert slope == pytest.approx(0.0, abs=1e-9)
    assert 0 < one - other < math.log(3)
    # Many contests leave the made-up one no say.
    (one, other) = bradley_terry(1e6 * np.array([[[0.0, 3.0], [1.0, 0.0]]]))[0]
    assert one - other == pytest.approx(math.log(3), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_strengths_are_where_the_likelihood_is_flat_and_move_with_their_models(seed: int) -> None:
    wins = np.random.default_rng(seed).integers(0, 5, (6, 6)).astype(float)
    np.fill_diagonal(wins, 0)
    strength = bradley_terry(wins[None])[0]
    chance = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    slope = (wins - (wins + wins.T) * chance).sum(axis=1) + 0.5 - 1 / (1 + np.exp(-strength))
    np.testing.assert_allclose(slope, 0, atol=1e-8)
    order = np.random.default_rng(seed + 1).permutation(6)
    np.testing.assert_allclose(bradley_terry(wins[order][:, order][None])[0], strength[order], atol=1e-9)


def test_a_model_that_wins_everything_has_a_finite_strength_and_one_that_is_absent_is_no_loser() -> None:
    found = exactly([0.3, 0.2, np.nan], [0.3, 0.2, 0.1], [0.3, np.nan, 0.1]).strengths()
    assert math.isfinite(found[0].value)
    assert found[0].value > found[1].value > found[2].value
    # The last two have won and lost as often, but for their one meeting.
    assert found[1].value - found[2].value < found[0].value - found[1].value
    assert all(one.low <= one.value <= one.high for one in found)


def test_orders_of_a_contest_are_predicted_from_the_others() -> None:
    alike = exactly([0.3, 0.2, 0.1], [0.6, 0.5, 0.4], [0.9, 0.2, 0.1])
    assert alike.predicted_orders() == [(3, 3)] * 3
    odd = exactly([0.3, 0.2, 0.1], [0.6, 0.5, 0.4], [0.1, 0.2, 0.9])
    assert odd.predicted_orders() == [(3, 3), (3, 3), (0, 3)] or odd.predicted_orders()[2] == (0, 3)
    # A pair that ties there, or a model that no other contest knows, is no pair to predict.
    partly = exactly([0.3, 0.2, np.nan], [0.6, 0.5, np.nan], [0.2, 0.2, 0.9])
    assert partly.predicted_orders()[2] == (0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 9))
def test_agreement_is_kendalls_tau(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 6, n) / 10, rng.integers(0, 6, n) / 10
    found = agreement(one, other, one[None], other[None])
    expected = kendalltau(one, other).statistic
    if math.isnan(expected):
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(expected)


def test_agreement_has_the_spread_of_both_tests() -> None:
    one, other = np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3])
    drawn = np.repeat(one[None], 100, axis=0)
    swapped = drawn.copy()
    swapped[:30] = [0.3, 0.2, 0.1]
    found = agreement(one, other, drawn, swapped)
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, -1.0, 1.0)


def test_a_difference_is_paired() -> None:
    drawn = np.linspace(0.1, 0.9, 50)
    found = drawn_difference(drawn + 0.01, drawn, 0.01)
    assert (found.value, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))


def test_the_critical_difference_of_demsars_example() -> None:
    # Demsar 2006, section 3.2.2: four classifiers on fourteen data sets, 1.25.
    rng = np.random.default_rng(0)
    found = critical_difference(rng.random((14, 4)))
    assert found.difference == pytest.approx(1.25, abs=0.005)
    ordered = critical_difference(np.tile([0.4, 0.3, 0.2, 0.1], (14, 1)))
    assert ordered.p < 1e-6 < found.p


def test_runs_of_models_that_are_not_told_apart() -> None:
    assert groups_within([1.0, 1.5, 2.8, 3.0, 5.0], 1.6) == [(0, 1), (1, 3)]
    assert groups_within([1.0, 3.0, 5.0], 1.0) == []
    assert groups_within([1.0, 1.2, 1.4], 1.0) == [(0, 2)]
