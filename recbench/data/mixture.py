"""A generative process whose probabilities are known: the next item follows from the last, the one before it, a text, or a taste.

After the items b, a (a came last) a user of taste z takes item j with probability

    bigram * follower[a, j] + two_step * second[b, j] + text * alike[a, j] + taste * preferred[z, j]

where the four shares sum to one. A first event is drawn from `start`, whatever the taste; a second one, which has no b, takes its bigram in
the place of `second`. Tastes are few and equally frequent, so what a history tells of its user's taste is known exactly, too.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.ragged import Histories, IntArray, LongArray

FloatArray = NDArray[np.float64]

# B histories, E events of them, I items, K tastes, M items that a step may lead to, U users, T events of a user


@dataclass(frozen=True)
class Shares:
    """How often each part of the process decides; they sum to one."""

    bigram: float
    two_step: float
    text: float
    taste: float


@dataclass(frozen=True, eq=False)
class Steps:
    """Where a step from each item may lead.

    Attributes:
        item_IM: (I, M) int32 item rows.
        chance_IM: (I, M), rows sum to one; 0 fills a row that leads to fewer items.
    """

    item_IM: IntArray
    chance_IM: FloatArray

    @cached_property
    def _rising(self) -> FloatArray:
        return np.cumsum(self.chance_IM, axis=1)

    def drawn(self, origin: IntArray, place: FloatArray) -> IntArray:
        """The item that each number from 0 to 1 leads to, from (n,) item rows."""
        rising = self._rising[origin]
        column = np.count_nonzero(rising <= place[:, None] * rising[:, -1:], axis=1)
        item: IntArray = self.item_IM[origin, column]
        return item

    def chance_of(self, origin: IntArray, item: IntArray) -> FloatArray:
        """Probability of the step from each origin to an item, (n,)."""
        chance: FloatArray = np.where(self.item_IM[origin] == item[:, None], self.chance_IM[origin], 0.0).sum(axis=1)
        return chance

    def add_to(self, chance_BI: FloatArray, rows: LongArray, origin: IntArray, share: FloatArray | float) -> None:
        """Add `share` times the probabilities of a step from each origin to some rows."""
        np.add.at(chance_BI, (rows[:, None], self.item_IM[origin]), np.reshape(share, (-1, 1)) * self.chance_IM[origin])


@dataclass(frozen=True, eq=False)
class Mixture:
    """The process with its tables.

    Attributes:
        shares: of its parts.
        start_I: (I,) probability of a user's first item.
        follower: steps from the last item.
        second: steps from the item before it.
        alike: steps from the last item to items of like text.
        alike_at_last: the same for a user's last event, which items that nobody met before may follow.
        preferred_KI: (K, I) what users of each taste take by taste.
        taste_U: (U,) taste of each user.
        n_events: of each user.
    """

    shares: Shares
    start_I: FloatArray
    follower: Steps
    second: Steps
    alike: Steps
    alike_at_last: Steps
    preferred_KI: FloatArray
    taste_U: IntArray
    n_events: int

    def sequences(self, draw: np.random.RandomState) -> IntArray:
        """Events of all users, (U, T) int32 item rows."""
        n_users = len(self.taste_U)
        item_UT = np.empty((n_users, self.n_events), dtype=np.int32)
        item_UT[:, 0] = _drawn(self.start_I, draw.random_sample(n_users))
        ends = np.cumsum([self.shares.taste, self.shares.text, self.shares.two_step])
        for event in range(1, self.n_events):
            part, place = draw.random_sample((2, n_users))
            last = item_UT[:, event - 1]
            followers = self.follower.drawn(last, place)
            choices = [
                self._by_taste(place),
                self._alike(event).drawn(last, place),
                self.second.drawn(item_UT[:, event - 2], place) if event > 1 else followers,
            ]
            item_UT[:, event] = np.select([part < end for end in ends], choices, followers)
        return item_UT

    def given_history(self, histories: Histories) -> FloatArray:
        """Probability of each item as the next one, given the events so far alone, (B, I).

        Raises:
            BadData: this process makes no such history.
        """
        return self._given_tastes(histories, self.tastes_given(histories))

    def given_user(self, histories: Histories, user: IntArray) -> FloatArray:
        """Probability of each item as the next one, given the events so far and the taste of these users, (B, I)."""
        return self._given_tastes(histories, np.eye(len(self.preferred_KI))[self.taste_U[user]])

    def tastes_given(self, histories: Histories) -> FloatArray:
        """Probability of each taste of the user behind a history, (B, K).

        Raises:
            BadData: this process makes no such history.
        """
        query = histories.row_of_entry()
        place = np.arange(len(query)) - histories.offsets[query]
        log_BK = np.zeros((len(histories), len(self.preferred_KI)))
        later = np.flatnonzero(place > 0)
        with np.errstate(divide="ignore"):
            np.add.at(log_BK, query[later], np.log(self._chance_of_events(histories.item, place, later)))
        most_B1 = log_BK.max(axis=1, keepdims=True)
        if not np.isfinite(most_B1).all():
            first = int(np.argmin(np.isfinite(most_B1)))
            raise BadData(
                f"The history {histories[first].tolist()} has a step that this process never makes. Use the data set that it made."
            )
        weight_BK = np.exp(log_BK - most_B1)
        posterior_BK: FloatArray = weight_BK / weight_BK.sum(axis=1, keepdims=True)
        return posterior_BK

    def _chance_of_events(self, item: IntArray, place: LongArray, at: LongArray) -> FloatArray:
        """Probability under each taste of the events `at` some places of the flat histories, none of them a first one, (E, K)."""
        shares, now, last = self.shares, item[at], item[at - 1]
        by_bigram = self.follower.chance_of(last, now)
        by_second = np.where(place[at] > 1, self.second.chance_of(item[at - 2], now), by_bigram)
        by_text = np.where(place[at] < self.n_events - 1, self.alike.chance_of(last, now), self.alike_at_last.chance_of(last, now))
        for_all_E = shares.bigram * by_bigram + shares.two_step * by_second + shares.text * by_text
        chance_EK: FloatArray = for_all_E[:, None] + shares.taste * self.preferred_KI.T[now]
        return chance_EK

    def _given_tastes(self, histories: Histories, weight_BK: FloatArray) -> FloatArray:
        """Probability of each next item where tastes have these weights."""
        lengths, ends = histories.lengths, histories.offsets[1:]
        chance_BI = self.shares.taste * (weight_BK @ self.preferred_KI)
        chance_BI[lengths == 0] = self.start_I
        known, two = np.flatnonzero(lengths > 0), np.flatnonzero(lengths > 1)
        last = histories.item[ends[known] - 1]
        self.follower.add_to(chance_BI, known, last, np.where(lengths[known] > 1, 0.0, self.shares.two_step) + self.shares.bigram)
        self.second.add_to(chance_BI, two, histories.item[ends[two] - 2], self.shares.two_step)
        is_at_last = lengths[known] == self.n_events - 1
        for steps, chosen in ((self.alike, ~is_at_last), (self.alike_at_last, is_at_last)):
            steps.add_to(chance_BI, known[chosen], last[chosen], self.shares.text)
        return chance_BI

    def _alike(self, event: int) -> Steps:
        return self.alike_at_last if event == self.n_events - 1 else self.alike

    def _by_taste(self, place: FloatArray) -> IntArray:
        items = np.empty(len(place), dtype=np.int32)
        for taste, preferred_I in enumerate(self.preferred_KI):
            users = np.flatnonzero(self.taste_U == taste)
            items[users] = _drawn(preferred_I, place[users])
        return items


def _drawn(chance_I: FloatArray, place: FloatArray) -> IntArray:
    """The item that each number from 0 to 1 leads to."""
    rising = np.cumsum(chance_I)
    item: IntArray = np.searchsorted(rising, place * rising[-1], side="right").astype(np.int32)
    return item
