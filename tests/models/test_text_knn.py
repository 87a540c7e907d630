"""text-knn: cosine of texts, items without text, data without text."""

from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadRequest, Catalogue, Recommender
from recbench.testing import LightContext, interactions, queries
from recbench_models.text_knn import PLUGIN

TITLES = ["red wool hat", "blue wool scarf", None, "red wool hat", "steel anchor"]


def fitted(titles: list[str | None], tmp_path: Path, **settings: object) -> Recommender:
    model = PLUGIN.build(PLUGIN.resolve("default", None, settings), Catalogue(len(titles), 1))
    model.fit(LightContext(interactions([[0, 1]], len(titles)), tmp_path, {"title": titles}))
    return model


def test_items_with_like_text_first_and_items_without_text_score_nothing(tmp_path: Path) -> None:
    rankings = fitted(TITLES, tmp_path).generate(queries([[0], [4, 0], [2], []]), 5)
    assert rankings.view("unseen")[0].tolist() == [3, 1, 2, 4, -1]
    np.testing.assert_allclose(rankings.scores[0, 0, :2], [1, 1], rtol=1e-6)
    assert rankings.view("keep")[0].tolist() == [0, 3, 1, 2, 4]
    np.testing.assert_array_equal(rankings.scores[0, 2:], np.zeros((2, 5), np.float32))
    assert rankings.view("unseen")[1].tolist() == [3, 1, 2, -1, -1]


def test_scores_are_the_cosines_of_a_dense_computation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["sail", "rope", "deck", "mast", "tide", "buoy", "oar"]
    titles: list[str | None] = [" ".join(rng.choice(words, 4)) for _ in range(30)]
    model = fitted(titles, tmp_path)
    text = model.text_IT.toarray()
    history = [3, 8, 8, 20]
    mean = text[history].mean(0)
    expected = text @ mean / np.linalg.norm(mean)
    rankings = model.generate(queries([history]), 30)
    np.testing.assert_allclose(rankings.scores[0, 0], np.sort(expected)[::-1], atol=1e-6)


def test_events_do_not_matter(tmp_path: Path) -> None:
    models = []
    for lists in ([[0, 1]], [[4, 2, 4]]):
        model = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(5, 1))
        model.fit(LightContext(interactions(lists, 5), tmp_path, {"title": TITLES}))
        models.append(model.text_IT.toarray())
    np.testing.assert_array_equal(*models)


@pytest.mark.parametrize("texts", [{}, {"title": [None] * 3}, {"title": [None, "", "  - !"]}, {"description": ["wool"] * 3}])
def test_data_without_text_are_refused_with_a_sentence(texts: dict[str, list[str | None]], tmp_path: Path) -> None:
    model = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(3, 1))
    with pytest.raises(BadRequest, match="text-knn reads title, brand, categories, and no item of this data set has a word"):
        model.fit(LightContext(interactions([[0, 1]], 3), tmp_path, texts))


def test_the_encoder_is_part_of_the_row_name() -> None:
    assert PLUGIN.row_name("default", PLUGIN.resolve("default")) == "text-knn:default (tfidf)"
