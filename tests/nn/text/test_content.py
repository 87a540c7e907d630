"""Media and text of the items, from what a data set has."""

from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadRequest, Features
from recbench.nn.text import CategorySettings, ContentSettings, TextSettings, item_content
from recbench.testing import LightContext, interactions

TITLES = ["green tea", "black tea", "brown rice", None]
CATEGORIES = ["Food, Tea", "Food, Tea", "Food, Rice", None]


def feature(value: float) -> Features:
    return Features(np.full((4, 3), value, np.float32), np.array([True, True, True, False]))


def content(folder: Path, columns: dict[str, list[str | None]], features: dict[str, Features], **settings: object) -> dict[str, Features]:
    context = LightContext(interactions([[0, 1]], 4), folder, columns, features=features)
    return item_content(context, ContentSettings(**settings), TextSettings(encoder="tfidf-svd", fields=("title",)), CategorySettings())


def test_features_are_media_and_item_texts_are_text(tmp_path: Path) -> None:
    found = content(tmp_path, {"title": TITLES, "categories": CATEGORIES}, {"image": feature(1), "media": feature(2), "text": feature(3)})
    assert list(found) == ["media", "text"]
    assert found["media"].matrix[0, 0] == 1
    assert found["text"].matrix.shape == (4, 3), "the titles have three directions"
    assert found["text"].matrix[0] @ found["text"].matrix[1] < 0.99
    assert found["text"].is_present.tolist() == [True, True, True, False]


def test_categories_stand_in_for_media_and_a_feature_for_texts(tmp_path: Path) -> None:
    found = content(tmp_path, {"categories": CATEGORIES}, {"description": feature(3)})
    np.testing.assert_allclose(found["media"].matrix[0], found["media"].matrix[1])
    assert found["media"].is_present.tolist() == [True, True, True, False]
    assert found["text"].matrix[0, 0] == 3
    both = content(tmp_path, {"title": TITLES}, {"text": feature(3)}, text_from="features")
    assert both["text"].matrix[0, 0] == 3
    assert list(both) == ["text"]


@pytest.mark.parametrize(
    ("columns", "text", "categories"), [({"title": TITLES}, "titel", "categories"), ({"title": TITLES}, "title", "kinds")]
)
def test_a_column_that_is_not_there_is_refused_where_others_are(
    tmp_path: Path, columns: dict[str, list[str | None]], text: str, categories: str
) -> None:
    context = LightContext(interactions([[0, 1]], 4), tmp_path, columns)
    with pytest.raises(BadRequest, match="no item of this data set has a value"):
        item_content(context, ContentSettings(), TextSettings(encoder="tfidf-svd", fields=(text,)), CategorySettings(fields=(categories,)))


def test_a_data_set_may_have_nothing(tmp_path: Path) -> None:
    assert content(tmp_path, {"title": [None] * 4}, {"price": feature(1)}) == {}
