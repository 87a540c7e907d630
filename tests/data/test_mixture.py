"""The process behind the synthetic data, on three items: every probability worked out by hand."""

import itertools

import numpy as np
import pytest

from recbench.core import BadData
from recbench.core.ragged import Histories
from recbench.data.mixture import Mixture, Shares, Steps


def steps(*rows: dict[int, float]) -> Steps:
    """Steps from items 0, 1, ... to other items with their probabilities."""
    width = max(map(len, rows))
    padded = [[*row.items()] + [(0, 0.0)] * (width - len(row)) for row in rows]
    return Steps(
        np.array([[item for item, _ in row] for row in padded], dtype=np.int32),
        np.array([[chance for _, chance in row] for row in padded]),
    )


def world(shares: Shares, n_users: int = 4, n_events: int = 5) -> Mixture:
    return Mixture(
        shares,
        start_I=np.array([0.5, 0.3, 0.2]),
        follower=steps({1: 0.75, 2: 0.25}, {2: 1.0}, {0: 0.5, 1: 0.5}),
        second=steps({0: 1.0}, {1: 1.0}, {2: 1.0}),
        alike=steps({1: 1.0}, {0: 1.0}, {0: 1.0}),
        alike_at_last=steps({2: 1.0}, {2: 1.0}, {1: 1.0}),
        preferred_KI=np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        taste_U=np.arange(n_users, dtype=np.int32) % 2,
        n_events=n_events,
    )


SHARES = Shares(bigram=0.4, two_step=0.2, text=0.1, taste=0.3)


def test_probabilities_are_those_worked_out_by_hand() -> None:
    histories = Histories.from_lists([[], [0], [1, 2], [0, 1, 2, 0]])
    user = np.array([0, 1, 0, 1], dtype=np.int32)
    expected = [
        [0.5, 0.3, 0.2],  # the start, whatever the taste
        [0.0, 0.6 * 0.75 + 0.1 + 0.15, 0.6 * 0.25 + 0.15],  # no item before the last: its bigram has the share of the two
        [0.4 * 0.5 + 0.1 + 0.3, 0.4 * 0.5 + 0.2, 0.0],
        [0.0, 0.4 * 0.75 + 0.15, 0.4 * 0.25 + 0.2 + 0.1 + 0.15],  # the fifth event is the last one
    ]
    np.testing.assert_allclose(world(SHARES).given_user(histories, user), expected)


def test_what_a_history_tells_of_the_taste() -> None:
    made = world(SHARES)
    # Behind item 0, item 1 comes with 0.6 * 0.75 + 0.1 and, for the second taste alone, 0.15 more.
    np.testing.assert_allclose(
        made.tastes_given(Histories.from_lists([[], [0], [0, 1]])), [[0.5, 0.5], [0.5, 0.5], [0.55 / 1.25, 0.7 / 1.25]]
    )


def test_the_history_weighs_the_tastes_as_the_sequences_do() -> None:
    """Against the definition: of all sequences of three items, by the probability of each under each taste."""
    made = world(SHARES, n_events=4)
    joint = np.zeros((2, 3, 3, 3))
    for taste, first, second, third in itertools.product(range(2), range(3), range(3), range(3)):
        user = np.array([taste], dtype=np.int32)
        chance = 0.5
        for history, item in (([], first), ([first], second), ([first, second], third)):
            chance *= made.given_user(Histories.from_lists([history]), user)[0, item]
        joint[taste, first, second, third] = chance
    assert joint.sum() == pytest.approx(1.0)
    for first, second in itertools.product(range(3), range(3)):
        of_pair = joint[:, first, second].sum(axis=0)
        if of_pair.sum() > 0:
            next_I = made.given_history(Histories.from_lists([[first, second]]))[0]
            np.testing.assert_allclose(next_I, of_pair / of_pair.sum())


def test_a_history_of_another_process_is_refused() -> None:
    made = world(Shares(bigram=1.0, two_step=0.0, text=0.0, taste=0.0))
    with pytest.raises(BadData, match=r"history \[1, 0\] has a step that this process never makes"):
        made.given_history(Histories.from_lists([[0, 1], [1, 0]]))


def test_events_come_as_often_as_their_probabilities_say() -> None:
    made = world(SHARES, n_users=20_000, n_events=3)
    item_UT = made.sequences(np.random.RandomState(0))
    pairs, row = np.unique(item_UT[:, :2], axis=0, return_inverse=True)
    for taste in range(2):
        chance = made.given_user(Histories.from_lists(pairs.tolist()), np.full(len(pairs), taste, dtype=np.int32))
        for number in range(len(pairs)):
            third = item_UT[(row == number) & (made.taste_U == taste), 2]
            error = np.sqrt(chance[number] * (1 - chance[number]) / max(len(third), 1))
            assert (np.abs(np.bincount(third, minlength=3) / max(len(third), 1) - chance[number]) <= 4.5 * error).all() or not len(third)
