"""slot-popularity: open slots first, items without a category, data whose bundles have no slots."""

from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadRequest, Catalogue
from recbench.testing import LightContext, interactions, queries
from recbench_models.slot_popularity import PLUGIN

# The cell repeats a name, as the source does; what all items have says nothing.
CELLS = ["food, soup", "food, soup, soup", "food, main, main", "food, main", "food, sweet", None]
# Counts of items 0 to 5: 1, 3, 2, 2, 3, 0.
MEALS = [[1, 2, 4], [1, 3, 4], [0, 2, 4], [1, 3]]


def fitted(meals: list[list[int]], folder: Path, **settings: object) -> Any:
    model = PLUGIN.build(PLUGIN.resolve("default", None, settings), Catalogue(6, len(meals)))
    model.fit(LightContext(interactions(meals, 6), folder, {"categories": CELLS}))
    return model


def test_items_of_open_slots_come_first_each_half_by_popularity(tmp_path: Path) -> None:
    rankings = fitted(MEALS, tmp_path).generate(queries([[0], [2, 4], [5], []]), 6)
    # Item 5 has no category and fills no slot, yet nobody puts it into a meal.
    assert rankings.view("unseen").tolist() == [[4, 2, 3, 5, 1, -1], [1, 0, 5, 3, -1, -1], [1, 4, 2, 3, 0, -1], [1, 4, 2, 3, 0, 5]]
    assert rankings.view("keep")[0].tolist() == [4, 2, 3, 5, 1, 0]


def test_saved_slots_are_read_back(tmp_path: Path) -> None:
    model = fitted(MEALS, tmp_path)
    model.save(tmp_path)
    again = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(6, 4))
    again.load(tmp_path)
    asked = queries([[0], [2, 4], [5], []])
    assert again.generate(asked, 6).items.tolist() == model.generate(asked, 6).items.tolist()


def test_bundles_that_repeat_a_category_have_no_slots(tmp_path: Path) -> None:
    # One bundle in 20 may hold two soups. Rows of held bundles are empty and do not count.
    fitted([[0, 1], *[[1, 2]] * 19, []], tmp_path)
    with pytest.raises(BadRequest, match=r"5\.3 % of the train bundles hold a category twice \(at most 5 % may\)\. Take popularity"):
        fitted([[0, 1], *[[1, 2]] * 18, []], tmp_path)
    fitted([[0, 1], *[[1, 2]] * 18, []], tmp_path, most_repeats=0.06)
