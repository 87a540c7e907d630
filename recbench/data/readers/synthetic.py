"""Synthetic data from knobs, by a process whose probabilities are known: the best possible lists are known, too. Never for boards.

A topic is about ten items whose titles are three of its five words; no two topics share a word. The more words two titles share, the
likelier is a step by text from one to the other. Words are made up: an encoder that was trained on other texts knows no more of them than
the titles tell.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.core.ragged import IntArray, LongArray
from recbench.core.seeds import frozen_generator
from recbench.data.mixture import FloatArray, Mixture, Shares, Steps
from recbench.data.reader import Files, RawEvents, RawItems, numbered_ids

_DAY_S = 86_400
_START_S = 1_577_836_800
"""1 January 2020, UTC."""
_TOPIC_ITEMS, _TOPIC_WORDS, _TITLE_WORDS = 10, 5, 3
"""Any two titles of a topic share a word, as 3 + 3 > 5."""
_PER_SHARED_WORD = 4.0
"""How much likelier a step by text is made by a further word in common."""
_FLATNESS = 10.0
"""The item of popularity rank r has weight 1 / (10 + r): quotients, as powers differ in the last bit between processors."""
_CONSONANTS, _VOWELS = "bdfghjklmnprstvwz", "aeiou"
_N_WORDS = (len(_CONSONANTS) * len(_VOWELS)) ** 3
_STRIDE = 104_729
"""Prime, so that neighbouring words look nothing like each other and none comes twice."""
_MOST_ITEMS, _MOST_USERS, _MOST_SEED = 1_000_000, 10_000_000, 2**63 - 1
_MOST_CELLS = 100_000_000
"""Largest table, of a few bytes a cell: events of all users, items by taste, steps by item."""


class SyntheticOptions(PluginConfig):
    """Knobs of the process; everything follows from them."""

    items: int = Field(default=500, ge=50, le=_MOST_ITEMS)
    """Size of the catalogue, cold items included."""
    users: int = Field(default=2_000, ge=10, le=_MOST_USERS)
    """Number of users."""
    events: int = Field(default=12, ge=3, le=1_000)
    """Events of each user."""
    branching: int = Field(default=4, ge=1, le=100)
    """Items that may follow an item, and as many two steps on; the first is likeliest, by 1, 1/2, 1/3 and so on."""
    two_step: float = Field(default=0.2, ge=0, le=1)
    """Share of events that follow from the item before the last."""
    taste: float = Field(default=0.2, ge=0, le=1)
    """Share of events that follow from the user's taste."""
    tastes: int = Field(default=8, ge=1, le=1_000)
    """Number of tastes: each prefers items of its own, popular ones most, and each user has one."""
    text: float = Field(default=0.1, ge=0, le=1)
    """Share of events that follow from the text of the last item. What the shares leave follows from the last item itself (the bigram)."""
    cold: float = Field(default=0.0, ge=0, le=0.5)
    """Share of items that only a user's last event may be, by text: with leave-one-out they have no train event."""
    seed: int = Field(default=0, ge=0, le=_MOST_SEED)
    """Of tables and events."""

    @property
    def n_warm(self) -> int:
        """Items that any event may be."""
        return self.items - int(self.cold * self.items)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        shares = {"two_step": self.two_step, "taste": self.taste, "text": self.text}
        total = sum(shares.values())
        if total > 1 + 1e-9:
            given = " + ".join(f"{name}={share}" for name, share in shares.items())
            raise ValueError(f"{given} is {total:.4g}, and shares of events sum to at most 1")
        for name, number, most in (("branching", self.branching, self.n_warm // 4), ("tastes", self.tastes, self.n_warm // 4)):
            if number > most:
                raise ValueError(f"{name}={number} is too many for {self.n_warm} items that are not cold; {most} is the most")
        for size, times in (("users", "events"), ("items", "tastes"), ("items", "branching")):
            cells = getattr(self, size) * getattr(self, times)
            if cells > _MOST_CELLS:
                made = f"{size}={getattr(self, size)} times {times}={getattr(self, times)} is {cells:,}"
                raise ValueError(f"{made}, and {_MOST_CELLS:,} is the most that is held in memory")
        return self


class SyntheticReader:
    """Generates; reads nothing."""

    options = SyntheticOptions
    needs: tuple[str, ...] = ()
    has_complete_items = True

    def events(self, files: Files, options: SyntheticOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All events, user by user, at least a minute apart."""
        item_UT = self.process(options).sequences(frozen_generator(options.seed, "synthetic", "events"))
        user = np.repeat(np.arange(options.users, dtype=np.int32), options.events)
        ids = numbered_ids("user", options.users), numbered_ids("item", options.items)
        return RawEvents(user, item_UT.ravel(), *ids, _times(options))

    def items(
        self,
        files: Files,  # noqa: ARG002
        options: SyntheticOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems:
        """Titles."""
        texts = {"title": _catalogue(options).titles()}
        return RawItems(numbered_ids("item", options.items).tolist(), {name: texts[name] for name in columns if name in texts})

    def process(self, options: SyntheticOptions) -> Mixture:
        """The process behind the events."""
        return _mixture(options)


@dataclass(frozen=True, eq=False)
class _Catalogue:
    """What items are.

    Attributes:
        topic_I: (n_items,) topic of each.
        members_TM: (n_topics, M) items of each topic; -1 fills.
        word_I3: (n_items, 3) places of an item's words among the five of its topic, in the order of its title.
        is_warm_I: (n_items,) whether any event may be the item.
    """

    topic_I: LongArray
    members_TM: LongArray
    word_I3: LongArray
    is_warm_I: NDArray[np.bool_]

    def titles(self) -> list[str]:
        number_I3 = self.topic_I[:, None] * _TOPIC_WORDS + self.word_I3
        return [" ".join(map(_word, numbers)).capitalize() for numbers in number_I3.tolist()]

    def alike(self, allowed_I: NDArray[np.bool_]) -> Steps:
        """Steps to other items of the same topic that are allowed."""
        item_IM = self.members_TM[self.topic_I]
        has_word_I5 = np.zeros((len(self.topic_I), _TOPIC_WORDS), dtype=np.int8)
        np.put_along_axis(has_word_I5, self.word_I3, 1, axis=1)
        n_shared_IM = (has_word_I5[:, None, :] * has_word_I5[item_IM]).sum(axis=2)
        is_other_IM = (item_IM >= 0) & (item_IM != np.arange(len(item_IM))[:, None]) & allowed_I[item_IM]
        weight_IM = np.where(is_other_IM, _PER_SHARED_WORD**n_shared_IM, 0.0)
        return Steps(np.maximum(item_IM, 0).astype(np.int32), weight_IM / weight_IM.sum(axis=1, keepdims=True))


def _catalogue(options: SyntheticOptions) -> _Catalogue:
    draw = frozen_generator(options.seed, "synthetic", "catalogue")
    n_topics = options.items // _TOPIC_ITEMS
    order = draw.permutation(options.items)
    topic = np.empty(options.items, dtype=np.int64)
    topic[order] = np.arange(options.items) % n_topics
    members_MT = np.full((-(-options.items // n_topics), n_topics), -1, dtype=np.int64)
    members_MT.ravel()[: options.items] = order
    # The last of the order are cold, so each topic has its share of them.
    is_warm = np.zeros(options.items, dtype=np.bool_)
    is_warm[order[: options.n_warm]] = True
    word_I3 = draw.random_sample((options.items, _TOPIC_WORDS)).argsort(axis=1, kind="stable")[:, :_TITLE_WORDS]
    return _Catalogue(topic, members_MT.T, word_I3, is_warm)


@lru_cache(maxsize=2)
def _mixture(options: SyntheticOptions) -> Mixture:
    catalogue = _catalogue(options)
    warm = np.flatnonzero(catalogue.is_warm_I)
    draw = frozen_generator(options.seed, "synthetic", "steps")
    weight_I = np.zeros(options.items)
    weight_I[draw.permutation(warm)] = 1.0 / (_FLATNESS + np.arange(len(warm)))
    preferred_KI = np.zeros((options.tastes, options.items))
    order = draw.permutation(warm)
    preferred_KI[np.arange(len(warm)) % options.tastes, order] = weight_I[order]
    shares = Shares(max(0.0, 1.0 - (options.two_step + options.taste + options.text)), options.two_step, options.text, options.taste)
    return Mixture(
        shares,
        weight_I / weight_I.sum(),
        _followers(weight_I, options.branching, draw),
        _followers(weight_I, options.branching, draw),
        catalogue.alike(catalogue.is_warm_I),
        catalogue.alike(np.ones(options.items, dtype=np.bool_)),
        preferred_KI / preferred_KI.sum(axis=1, keepdims=True),
        frozen_generator(options.seed, "synthetic", "tastes").randint(0, options.tastes, options.users, dtype=np.int32),
        options.events,
    )


def _followers(weight_I: FloatArray, branching: int, draw: np.random.RandomState) -> Steps:
    """For each item so many different ones, popular ones more often."""
    rising = np.cumsum(weight_I)
    item_IM = np.full((len(weight_I), branching), -1, dtype=np.int32)
    undrawn = item_IM < 0
    while undrawn.any():
        places = draw.random_sample(int(np.count_nonzero(undrawn))) * rising[-1]
        item_IM[undrawn] = np.searchsorted(rising, places, side="right")
        undrawn = _repeats(item_IM)
    chance_M = 1.0 / np.arange(1, branching + 1)
    return Steps(item_IM, np.tile(chance_M / chance_M.sum(), (len(weight_I), 1)))


def _repeats(item_IM: IntArray) -> NDArray[np.bool_]:
    """Which entries stand further left in their row already."""
    order = item_IM.argsort(axis=1, kind="stable")
    in_order = np.take_along_axis(item_IM, order, axis=1)
    is_repeat = np.zeros(item_IM.shape, dtype=np.bool_)
    np.put_along_axis(is_repeat, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], axis=1)
    return is_repeat


def _times(options: SyntheticOptions) -> LongArray:
    """Seconds since 1970, user by user; users begin within a year, and a month passes at most between two events."""
    draw = frozen_generator(options.seed, "synthetic", "times")
    step_UT = draw.randint(60, 30 * _DAY_S, (options.users, options.events), dtype=np.int64)
    step_UT[:, 0] = _START_S + draw.randint(0, 365 * _DAY_S, options.users, dtype=np.int64)
    times: LongArray = np.cumsum(step_UT, axis=1).ravel()
    return times


def _word(number: int) -> str:
    rest = number * _STRIDE % _N_WORDS
    letters = []
    for _ in range(3):
        rest, consonant = divmod(rest, len(_CONSONANTS))
        rest, vowel = divmod(rest, len(_VOWELS))
        letters += [_CONSONANTS[consonant], _VOWELS[vowel]]
    return "".join(letters)


READER = SyntheticReader()
