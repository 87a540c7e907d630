"""Synthetic outfits from a seed: items of a style and a category, bundles of one style and several categories. For tests, never for boards.

Images speak of styles and texts of categories, and an outfit has each category once: what looks alike goes together, what reads alike
does not. Some items are in no train bundle, and some are in nobody's feedback.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.core.ragged import LongArray
from recbench.core.seeds import generator
from recbench.data.reader import Files, RawCut, RawEvents, RawFeatures, RawItems, RawSide, numbered_ids

_CATEGORIES = {
    "Tops": "shirt blouse jumper tunic",
    "Trousers": "jeans chinos shorts leggings",
    "Shoes": "boots trainers sandals loafers",
    "Bags": "satchel tote rucksack clutch",
    "Coats": "parka blazer cape anorak",
    "Hats": "beret cap bonnet fedora",
}
_COLOURS = ["black", "blue", "brown", "green", "grey", "red", "white", "yellow"]
_N_STYLES = 15
_WIDTH = 32
"""Of both feature vectors."""
_STEEPNESS = 0.6
_NOISE = 1.2
_OTHER_STYLE = 0.1
"""Chance that an item of a bundle is of any style."""
_SIZES = (3, 5)
_USED_ITEMS = 10
"""Items that a user uses."""
_OUTSIDE = 0.02
"""Weight of items outside a user's preferred styles."""
_WITHOUT_FEEDBACK = 0.2
_TRAIN_END, _VALID_END = 0.8, 0.9
_MOST, _MOST_SEED = 1_000_000, 2**63 - 1


class OutfitsOptions(PluginConfig):
    """Size and seed."""

    seed: int = Field(default=3, ge=-_MOST_SEED, le=_MOST_SEED)
    """Everything follows from it."""
    n_items: int = Field(default=600, ge=100, le=_MOST)
    """Size of the catalogue; enough for every category to have items."""
    n_bundles: int = Field(default=1_500, ge=10, le=_MOST)
    """Number of outfits: 80 % for training, 10 % each for validation and test."""
    n_users: int = Field(default=400, ge=1, le=_MOST)
    """Number of users who give feedback."""
    cold_share: float = Field(default=0.15, ge=0, le=0.5)
    """Share of items that no train bundle holds."""


_Slot = tuple[LongArray, NDArray[np.float64]]
"""Items and their cumulative chances."""


@dataclass(frozen=True)
class _Items:
    """What items are, each (n_items,): style, category, popularity, and whether train bundles leave it out."""

    style: LongArray
    category: LongArray
    weight: NDArray[np.float64]
    is_cold: NDArray[np.bool_]


class OutfitsReader:
    """Generates; reads nothing."""

    options = OutfitsOptions
    needs: tuple[str, ...] = ()
    has_complete_items = True

    def events(self, files: Files, options: OutfitsOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One entry for each bundle and item, train bundles first."""
        bundles = _bundles(options)
        bundle = np.repeat(np.arange(len(bundles), dtype=np.int32), [len(items) for items in bundles])
        item = np.concatenate(bundles).astype(np.int32)
        return RawEvents(bundle, item, numbered_ids("outfit", len(bundles)), numbered_ids("item", options.n_items), None)

    def items(
        self,
        files: Files,  # noqa: ARG002
        options: OutfitsOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems:
        """Titles of a colour and a kind of the category, and the category. A style prefers two colours, which half of its items have."""
        draw = generator(options.seed, "outfits", "texts")
        titles, categories = [], []
        names = list(_CATEGORIES)
        items = _items(options)
        for style, category in zip(items.style.tolist(), items.category.tolist(), strict=True):
            kinds = _CATEGORIES[names[category]].split()
            preferred = (style + int(draw.integers(2))) % len(_COLOURS)
            colour = _COLOURS[preferred if draw.random() < 0.5 else int(draw.integers(len(_COLOURS)))]
            titles.append(f"{colour.capitalize()} {kinds[int(draw.integers(len(kinds)))]}")
            categories.append(names[category])
        texts: Mapping[str, Sequence[str | None]] = {"title": titles, "categories": categories}
        return RawItems(numbered_ids("item", options.n_items).tolist(), {name: texts[name] for name in columns if name in texts})

    def side(self, files: Files, options: OutfitsOptions, progress: Progress) -> RawSide:  # noqa: ARG002
        """Feedback of users who own no bundle, vectors of images and texts, and the division."""
        ids = numbered_ids("item", options.n_items).tolist()
        features = {name: RawFeatures(ids, matrix) for name, matrix in _vectors(options).items()}
        return RawSide(feedback=_feedback(options), features=features, cut=_cut(options))


def _items(options: OutfitsOptions) -> _Items:
    draw = generator(options.seed, "outfits", "items")
    style = draw.integers(_N_STYLES, size=options.n_items)
    category = draw.integers(len(_CATEGORIES), size=options.n_items)
    weight = np.power(1.0 + draw.permutation(options.n_items), -_STEEPNESS, dtype=np.float64)
    is_cold = draw.permutation(options.n_items) < int(options.cold_share * options.n_items)
    return _Items(style, category, weight, is_cold)


def _bundles(options: OutfitsOptions) -> list[list[int]]:
    """Items of each outfit: train bundles, then those of validation and test, which hold cold items too."""
    draw = generator(options.seed, "outfits", "bundles")
    items = _items(options)
    n_train = int(_TRAIN_END * options.n_bundles)
    warm, all_items = _Slots(items, np.where(items.is_cold, 0.0, items.weight)), _Slots(items, items.weight)
    return [(warm if number < n_train else all_items).outfit(draw) for number in range(options.n_bundles)]


class _Slots:
    """Items by category and style, to draw from by their weight."""

    def __init__(self, items: _Items, weight: NDArray[np.float64]) -> None:
        of_category = [(items.category == category) & (weight > 0) for category in range(len(_CATEGORIES))]
        self._any_style = [self._slot(chosen, weight) for chosen in of_category]
        self._of_style = [[self._slot(chosen & (items.style == style), weight) for style in range(_N_STYLES)] for chosen in of_category]

    @staticmethod
    def _slot(chosen: NDArray[np.bool_], weight: NDArray[np.float64]) -> _Slot:
        members = np.flatnonzero(chosen)
        return members, np.cumsum(weight[members]) / max(weight[members].sum(), 1e-12)

    def outfit(self, draw: np.random.Generator) -> list[int]:
        """One item for each of some categories, of one style; of any style now and then, or where the style has none."""
        style = int(draw.integers(_N_STYLES))
        n_slots = int(draw.integers(_SIZES[0], _SIZES[1] + 1))
        chosen = []
        for category in draw.choice(len(_CATEGORIES), size=n_slots, replace=False).tolist():
            is_other, place = draw.random(2).tolist()
            members, steps = self._of_style[category][style]
            if is_other < _OTHER_STYLE or not len(members):
                members, steps = self._any_style[category]
            chosen.append(int(members[np.searchsorted(steps, place, side="right")]))
        return chosen


def _cut(options: OutfitsOptions) -> RawCut:
    """The last fifth is held, half of it for validation; half of a held bundle is shown."""
    draw = generator(options.seed, "outfits", "cut")
    bundle_ids, item_ids = numbered_ids("outfit", options.n_bundles), numbered_ids("item", options.n_items)
    n_train, n_known = (int(share * options.n_bundles) for share in (_TRAIN_END, _VALID_END))
    part: dict[str, str] = {}
    shown: set[tuple[str, str]] = set()
    for number, (bundle, items) in enumerate(zip(bundle_ids.tolist(), _bundles(options), strict=True)):
        part[bundle] = "train" if number < n_train else "valid" if number < n_known else "test"
        if number >= n_train:
            half = draw.permutation(items)[: max(1, len(items) // 2)]
            shown.update((bundle, item) for item in item_ids[half].tolist())
    return RawCut(part, shown)


def _vectors(options: OutfitsOptions) -> dict[str, NDArray[np.float32]]:
    """Image and text of each item, (n_items, 32): codes of style and category in different measure, and noise."""
    draw = generator(options.seed, "outfits", "vectors")
    items = _items(options)
    style = draw.standard_normal((_N_STYLES, _WIDTH))[items.style]
    category = draw.standard_normal((len(_CATEGORIES), _WIDTH))[items.category]
    image = style + 0.3 * category + _NOISE * draw.standard_normal(style.shape)
    text = category + 0.5 * style + _NOISE * draw.standard_normal(style.shape)
    return {"image": image.astype(np.float32), "text": text.astype(np.float32)}


def _feedback(options: OutfitsOptions) -> RawEvents:
    """Items that users of two preferred styles used; a fifth of the items nobody used."""
    draw = generator(options.seed, "outfits", "feedback")
    items = _items(options)
    n_used = min(_USED_ITEMS, options.n_items)
    used: list[Any] = []
    for _ in range(options.n_users):
        preferred = draw.choice(_N_STYLES, size=2, replace=False)
        weight = items.weight * np.where(np.isin(items.style, preferred), 1.0, _OUTSIDE)
        used.append(draw.choice(options.n_items, size=n_used, replace=False, p=weight / weight.sum()))
    item = np.concatenate(used).astype(np.int32)
    user = np.repeat(np.arange(options.n_users, dtype=np.int32), n_used)
    is_silent = draw.permutation(options.n_items) < int(_WITHOUT_FEEDBACK * options.n_items)
    kept = ~is_silent[item]
    return RawEvents(user[kept], item[kept], numbered_ids("user", options.n_users), numbered_ids("item", options.n_items), None)


READER = OutfitsReader()
