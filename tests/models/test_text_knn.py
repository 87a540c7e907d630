"""text-knn: cosine of texts, items without text, data without text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core import BadRequest, Catalogue
from recbench.testing import LightContext, interactions, queries
from recbench_models.text_knn import PLUGIN

TITLES = ["red wool hat", "blue wool scarf", None, "red wool hat", "steel anchor"]


def fitted(titles: list[str | None], tmp_path: Path, **settings: object) -> Any:
    model = PLUGIN.build(PLUGIN.resolve("tfidf", None, settings), Catalogue(len(titles), 1))
    model.fit(LightContext(interactions([[0, 1]], len(titles)), tmp_path, {"title": titles}))
    return model


def test_items_with_like_text_first_and_items_without_text_score_nothing(tmp_path: Path) -> None:
    rankings = fitted(TITLES, tmp_path).generate(queries([[0], [4, 0], [2], []]), 5)
    assert rankings.view("unseen")[0, :2].tolist() == [3, 1]
    np.testing.assert_allclose(rankings.scores[0, 0, :2], [1, 1], rtol=1e-6)
    assert rankings.view("keep")[0, :3].tolist() == [0, 3, 1]
    np.testing.assert_array_equal(rankings.scores[0, 2:], np.zeros((2, 5), np.float32))
    assert rankings.view("unseen")[1, :2].tolist() == [3, 1]


@pytest.mark.parametrize("unit_length", [True, False])
def test_scores_are_the_cosines_with_the_mean_of_the_history(tmp_path: Path, unit_length: bool) -> None:
    rng = np.random.default_rng(0)
    words = ["sail", "rope", "deck", "mast", "tide", "buoy", "oar"]
    titles: list[str | None] = [" ".join(rng.choice(words, 4)) for _ in range(30)]
    model = fitted(titles, tmp_path, text={"unit_length": unit_length})
    vectors = model.item_vectors()
    assert vectors.shape == (30, len(set(titles)))
    history = [3, 8, 8, 20]
    mean = vectors[history].mean(0)
    expected = vectors @ mean / np.linalg.norm(mean) / np.linalg.norm(vectors, axis=1)
    rankings = model.generate(queries([history]), 30)
    np.testing.assert_allclose(rankings.scores[0, 0], np.sort(expected)[::-1], atol=1e-6)


def test_events_do_not_matter(tmp_path: Path) -> None:
    models = []
    for lists in ([[0, 1]], [[4, 2, 4]]):
        model = PLUGIN.build(PLUGIN.resolve("tfidf"), Catalogue(5, 1))
        model.fit(LightContext(interactions(lists, 5), tmp_path, {"title": TITLES}))
        models.append(model.item_vectors())
    np.testing.assert_array_equal(*models)


@pytest.mark.parametrize("texts", [{}, {"title": [None] * 3}, {"title": [None, "", "  - !"]}, {"description": ["wool"] * 3}])
def test_data_without_text_are_refused_with_a_sentence(texts: dict[str, list[str | None]], tmp_path: Path) -> None:
    model = PLUGIN.build(PLUGIN.resolve("tfidf"), Catalogue(3, 1))
    with pytest.raises(BadRequest, match=r"read from title(, brand, categories, price)?, and no item of this data set has a (value|word)"):
        model.fit(LightContext(interactions([[0, 1]], 3), tmp_path, texts))


def test_the_encoder_is_part_of_the_row_name() -> None:
    assert PLUGIN.row_name("default", PLUGIN.resolve("default")) == "text-knn:default (minilm)"
    assert PLUGIN.row_name("tfidf", PLUGIN.resolve("tfidf")) == "text-knn:tfidf (tfidf-svd)"


def test_bundles_are_read_by_their_titles() -> None:
    settings = PLUGIN.resolve(PLUGIN.default_preset("cpu", "bundle")).text
    assert (settings.fields, settings.labels, settings.encoder) == (("title",), False, "minilm")
