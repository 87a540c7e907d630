"""category-knn: like categories first, bundles of no effect, data without categories."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core import BadRequest, Catalogue
from recbench.testing import LightContext, interactions, queries
from recbench_models.category_knn import PLUGIN

CELLS = ["Food, Tea, Green", "Food, Tea, Black", "Food, Rice", "Food, Tea, Green", None, "Food, Rice, Rice"]


def fitted(cells: list[str | None], bundles: list[list[int]], folder: Path) -> Any:
    model = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(len(cells), len(bundles)))
    model.fit(LightContext(interactions(bundles, len(cells)), folder, {"categories": cells}))
    return model


def test_equal_categories_first_then_those_that_share_a_part_of_the_path(tmp_path: Path) -> None:
    rankings = fitted(CELLS, [[0, 1]], tmp_path).generate(queries([[0], [2], [1, 5], [4], []], views=("unseen",)), 2)
    # What shares no part with item 2 is equally far from it, up to rounding: the second place says nothing there.
    assert rankings.items[0, :3, 0].tolist() == [3, 5, 2]
    assert rankings.items[0, [0, 2], 1].tolist() == [1, 0]
    np.testing.assert_allclose(rankings.scores[0, :2, 0], [1, 1], rtol=1e-5)
    # Nothing is known of item 4, nor of an empty query.
    np.testing.assert_array_equal(rankings.scores[0, 3:], np.zeros((2, 2), np.float32))


def test_bundles_do_not_matter(tmp_path: Path) -> None:
    first, second = (fitted(CELLS, bundles, tmp_path).item_vectors() for bundles in ([[0, 1]], [[2, 3], [1, 5]]))
    np.testing.assert_array_equal(first, second)


def test_data_without_categories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no item of this data set has"):
        fitted([None, None], [[0, 1]], tmp_path)
