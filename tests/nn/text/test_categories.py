"""Vectors of items' categories."""

from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadRequest
from recbench.nn.text import CategorySettings, category_vectors
from recbench.testing import LightContext, interactions

CELLS = ["Food, Tea, Green", "Food, Tea, Black", "Food, Rice", "Food, Tea, Green", None, "Food, Rice, Rice, Rice"]


def vectors_of(cells: list[str | None], folder: Path, column: str = "categories", **settings: object) -> np.ndarray:
    context = LightContext(interactions([[0, 1]], len(cells)), folder, {column: cells})
    return category_vectors(context, CategorySettings(**settings))


def test_items_are_as_alike_as_their_categories(tmp_path: Path) -> None:
    found = vectors_of(CELLS, tmp_path)
    assert found.dtype == np.float32
    assert found.shape == (6, 4), "Food is everywhere, which leaves four categories"
    np.testing.assert_array_equal(found[0], found[3])
    np.testing.assert_allclose(found[2], found[5], err_msg="a name that stands there again counts once")
    assert not found[4].any()
    # Four directions hold all that there is, so products are those of TF-IDF rows: with 6 items, 3 of Tea, 2 of Green, 1 of Black.
    tea, green, black = (np.log(7 / (1 + n)) + 1 for n in (3, 2, 1))
    np.testing.assert_allclose(np.linalg.norm(found[[0, 1, 2]], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[0] @ found[1], tea**2 / (np.hypot(tea, green) * np.hypot(tea, black)), rtol=1e-5)
    np.testing.assert_allclose(found[0] @ found[2], 0, atol=1e-6)


def test_width_and_columns_are_settings(tmp_path: Path) -> None:
    assert vectors_of(CELLS, tmp_path / "a", width=2).shape == (6, 2)
    np.testing.assert_array_equal(
        vectors_of(CELLS, tmp_path / "b", "kind", fields=("kind",), lists=("kind",)), vectors_of(CELLS, tmp_path / "c")
    )
    with pytest.raises(BadRequest, match=r"--set categories\.fields="):
        vectors_of(CELLS, tmp_path / "d", "title")
