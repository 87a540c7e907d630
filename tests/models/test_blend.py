"""blend: equal to each of its halves at the ends of its weight, and the weight that validation picks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core import Catalogue, Plugin, Queries, Ranker
from recbench.testing import LightContext, interactions, queries
from recbench_models.blend import PLUGIN
from recbench_models.cobundle_knn import PLUGIN as COBUNDLE
from recbench_models.text_knn import PLUGIN as TEXT

N_ITEMS = 25
TEXT_SETTINGS = {"fields": ["title"], "labels": False, "encoder": "tfidf-svd", "max_tokens": 64}


def data(folder: Path, judge: Any = None) -> LightContext:
    rng = np.random.default_rng(1)
    bundles = [np.sort(rng.choice(20, 3, replace=False)).tolist() for _ in range(30)]
    words = ["sail", "rope", "deck", "mast", "tide", "buoy", "oar", "keel"]
    titles = [" ".join(rng.choice(words, 4)) + f" {row}" if row != 7 else None for row in range(N_ITEMS)]
    return LightContext(interactions(bundles, N_ITEMS), folder, {"title": titles}, judge=judge)


def fitted(plugin: Plugin, preset: str, folder: Path, **settings: object) -> Any:
    model = plugin.build(plugin.resolve(preset, None, settings), Catalogue(N_ITEMS, 30))
    model.fit(data(folder))
    return model


def asked() -> Queries:
    return queries([[0], [3, 11], [7], [22], [1, 5, 24], []])


@pytest.mark.parametrize("similarity", ["cosine", "count"])
def test_without_text_it_is_cobundle_knn(similarity: str, tmp_path: Path) -> None:
    blend = fitted(PLUGIN, "tfidf", tmp_path, text_weight=0.0, bundles={"similarity": similarity}).generate(asked(), N_ITEMS)
    alone = fitted(COBUNDLE, similarity, tmp_path).generate(asked(), N_ITEMS)
    np.testing.assert_array_equal(blend.items, alone.items)
    np.testing.assert_array_equal(blend.scores, alone.scores)


def test_with_text_above_all_it_is_text_knn(tmp_path: Path) -> None:
    # Titles are all different, so that no cosine is equal to another; items without a title tie, and the bundles order those.
    blend = fitted(PLUGIN, "tfidf", tmp_path, text_weight=1e6, bundles={"similarity": "cosine"}).generate(asked(), 15)
    alone = fitted(TEXT, "tfidf", tmp_path, text=TEXT_SETTINGS).generate(asked(), 15)
    told = [0, 1, 3, 4]
    np.testing.assert_array_equal(blend.items[:, told], alone.items[:, told])
    np.testing.assert_allclose(blend.scores[:, told] / 1e6, alone.scores[:, told], atol=1e-5)


def test_scores_are_the_weighted_sum(tmp_path: Path) -> None:
    parts = []
    for weight in (0.0, 1.0, 3.0):
        rankings = fitted(PLUGIN, "tfidf", tmp_path, text_weight=weight, bundles={"similarity": "count"}).generate(asked(), N_ITEMS)
        scores = np.empty((len(asked()), N_ITEMS))
        np.put_along_axis(scores, rankings.view("keep"), rankings.scores[0], axis=1)
        parts.append(scores)
    np.testing.assert_allclose(parts[2] - parts[0], 3 * (parts[1] - parts[0]), atol=1e-5)
    # Item 22 stands in no bundle: all that orders its neighbours is text.
    assert parts[1][3, 22] == pytest.approx(1.0, abs=1e-5)
    assert parts[0][3, 22] == 0


def test_the_order_of_what_is_shown_does_not_matter(tmp_path: Path) -> None:
    model = fitted(PLUGIN, "tfidf", tmp_path, text_weight=1.0, bundles={"similarity": "cosine"})
    one, other = (model.generate(queries([shown], views=("unseen",)), 15) for shown in ([1, 5, 9], [9, 1, 5]))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_validation_picks_similarity_and_weight_together(tmp_path: Path) -> None:
    model = PLUGIN.build(PLUGIN.resolve("tfidf", None, {"candidates": (0.5, 2.0)}), Catalogue(N_ITEMS, 30))
    seen = []

    def judge(ranker: Ranker) -> float:
        seen.append((float(ranker.by_bundles.similarity_II.max()) > 1, ranker.text_weight))
        return {(True, 0.5): 0.9, (False, 2.0): 0.8}.get(seen[-1], 0.1)

    report = model.fit(data(tmp_path, judge))
    assert seen == [(False, 0.5), (False, 2.0), (True, 0.5), (True, 2.0)]
    assert report.chosen == {"similarity": "count", "text_weight": 0.5}
    assert model.text_weight == 0.5
    assert float(model.by_bundles.similarity_II.max()) > 1
