"""Synthetic data from a seed: items in themes, users who walk within themes. For tests and a first contact, never for boards."""

import itertools
from collections.abc import Collection, Sequence

import numpy as np
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.core.ragged import LongArray
from recbench.core.seeds import generator
from recbench.data.reader import Files, RawEvents, RawItems, numbered_ids

_DAY_S = 86_400
_MOST_ITEMS, _MOST_USERS, _MOST_SEED = 1_000_000, 1_000_000, 2**63 - 1
_TRIES = 3
"""How often a user looks for an item not seen before."""
_START_S = 1_577_836_800
"""1 January 2020, UTC."""
_THEMES = {
    "Sailing": "anchor rope deck sail mast harbour compass tide rudder buoy",
    "Baking": "flour oven whisk dough yeast tin rolling pastry glaze crumb",
    "Astronomy": "telescope lens star chart eyepiece tripod comet filter nebula orbit",
    "Gardening": "spade seed pot trellis compost pruner hose bulb mulch glove",
    "Cycling": "pedal saddle chain helmet pump spoke brake tyre lamp bottle",
    "Painting": "brush canvas easel pigment palette varnish charcoal frame sketch gesso",
    "Climbing": "harness carabiner chalk rope boot ledge pulley sling helmet grip",
    "Chess": "board pawn clock rook opening bishop endgame king gambit table",
    "Coffee": "grinder filter kettle bean espresso cup roast scale milk tamper",
    "Music": "string fret tuner reed bow drum score pick stand metronome",
}
_ADJECTIVES = ["light", "sturdy", "compact", "classic", "small", "large", "quiet", "bright", "folding", "plain"]
_PHRASE = "idgenrec_text"
"""Model column of item phrases, as IDGenRec reads them."""
_MAKERS = ["Norden", "Halm", "Okar", "Birke", "Tolan", "Veer", "Sund", "Kessel"]


class DemoOptions(PluginConfig):
    """Size and seed."""

    seed: int = Field(default=7, ge=-_MOST_SEED, le=_MOST_SEED)
    """Everything follows from it."""
    n_users: int = Field(default=500, ge=1, le=_MOST_USERS)
    """Number of users."""
    n_items: int = Field(default=300, ge=1, le=_MOST_ITEMS)
    """Size of the catalogue, cold items included."""
    cold_share: float = Field(default=0.02, ge=0, le=0.5)
    """Share of items without any event."""
    stay: float = Field(default=0.9, ge=0, le=1)
    """Chance that the next item is of the same theme."""
    peak: float = Field(default=0.55, ge=0, le=1)
    """Chance that, within the theme, the next item is one of the three that usually follow."""


class DemoReader:
    """Generates; reads nothing."""

    options = DemoOptions
    needs: tuple[str, ...] = ()
    has_complete_items = True

    def events(self, files: Files, options: DemoOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All events, user by user; about a fifth of them share their second with the one before."""
        draw = generator(options.seed, "demo", "events")
        walk = _Walk(options)
        lengths = 4 + np.minimum(draw.geometric(0.11, options.n_users), 60)
        user = np.repeat(np.arange(options.n_users, dtype=np.int32), lengths)
        item = np.concatenate([walk.sequence(draw, int(length)) for length in lengths]).astype(np.int32)
        return RawEvents(user, item, numbered_ids("user", options.n_users), numbered_ids("item", options.n_items), _times(draw, lengths))

    def items(
        self,
        files: Files,  # noqa: ARG002
        options: DemoOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems:
        """Titles, brands, categories, descriptions and phrases made of the words of each item's theme; no two phrases are equal."""
        draw = generator(options.seed, "demo", "texts")
        names = list(_THEMES)
        texts: dict[str, list[str | None]] = {name: [] for name in ("title", "brand", "categories", "description", _PHRASE)}
        taken: set[str] = set()
        for theme in _themes(options):
            words = _THEMES[names[theme]].split()
            chosen = [words[place] for place in draw.choice(len(words), size=5, replace=False)]
            adjective = _ADJECTIVES[int(draw.integers(len(_ADJECTIVES)))]
            texts["title"].append(f"{adjective.capitalize()} {chosen[0]} and {chosen[1]}")
            texts["brand"].append(_MAKERS[int(draw.integers(len(_MAKERS)))] if draw.random() < 0.8 else None)
            texts["categories"].append(f"{names[theme]}, {chosen[0].capitalize()}")
            texts["description"].append(f"For {names[theme].lower()}: {', '.join(chosen[1:])}." if draw.random() < 0.9 else None)
            texts[_PHRASE].append(_phrase([adjective, *chosen], taken))
        return RawItems(numbered_ids("item", options.n_items).tolist(), {name: texts[name] for name in columns if name in texts})


class _Walk:
    """Next item of a user: popular items (Zipf) of the theme, and most often the usual followers of the last item."""

    def __init__(self, options: DemoOptions) -> None:
        self._options = options
        self._theme = _themes(options)
        n_warm = options.n_items - int(options.n_items * options.cold_share)
        draw = generator(options.seed, "demo", "walk")
        rank = draw.permutation(options.n_items)
        weight = np.where(np.arange(options.n_items) < n_warm, 1.0 / (1.0 + rank) ** 0.7, 0.0)
        self._members = [np.flatnonzero((self._theme == theme) & (weight > 0)) for theme in range(int(self._theme.max()) + 1)]
        self._steps = [np.cumsum(weight[members]) / weight[members].sum() for members in self._members]
        self._followers = np.zeros((options.n_items, 3), dtype=np.int64)
        for members in self._members:
            self._followers[members] = draw.choice(members, size=(len(members), 3))

    def sequence(self, draw: np.random.Generator, length: int) -> list[int]:
        """Item rows of one user; an item comes back now and then."""
        theme = int(draw.integers(len(self._members)))
        chances = draw.random((length, 3 + _TRIES))
        items: list[int] = []
        for stay, peak, place, *again in chances.tolist():
            if stay > self._options.stay:
                theme = int(draw.integers(len(self._members)))
            elif items and peak < self._options.peak:
                follower = int(self._followers[items[-1], int(place * 3)])
                if follower not in items:
                    items.append(follower)
                    continue
            picks = [self._popular(theme, chance) for chance in again]
            items.append(next((item for item in picks if item not in items), picks[0]))
        return items

    def _popular(self, theme: int, chance: float) -> int:
        return int(self._members[theme][np.searchsorted(self._steps[theme], chance)])


def _phrase(words: Sequence[str], taken: set[str]) -> str:
    """The first two or more of some words that no item is called by yet, with a number behind all of them if need be; is `taken` then."""
    shorter = (" ".join(words[:length]) for length in range(2, len(words) + 1))
    numbered = (f"{' '.join(words)} {number}" for number in itertools.count(2))
    phrase = next(phrase for phrase in itertools.chain(shorter, numbered) if phrase not in taken)
    taken.add(phrase)
    return phrase


def _themes(options: DemoOptions) -> LongArray:
    """Theme of each item, (n_items,)."""
    n_themes = min(len(_THEMES), max(1, options.n_items // 10))
    return np.resize(np.arange(n_themes, dtype=np.int64), options.n_items)


def _times(draw: np.random.Generator, lengths: LongArray) -> LongArray:
    """Seconds since 1970, rising within each user; some steps are zero, as when one basket is rated at once."""
    n_events = int(lengths.sum())
    step = np.where(draw.random(n_events) < 0.2, 0, (draw.exponential(9.0, n_events) * _DAY_S).astype(np.int64) + 60)
    starts = np.cumsum(lengths) - lengths
    step[starts] = _START_S + draw.integers(0, 365 * _DAY_S, len(lengths))
    total = np.cumsum(step)
    times: LongArray = total - np.repeat(total[starts] - step[starts], lengths)
    return times


READER = DemoReader()
