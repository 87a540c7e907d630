"""cobundle-knn and feedback-knn: similarities by hand, ties by popularity, item-knn's cosines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core import BadRequest, Catalogue, Histories, Plugin, Ranker
from recbench.testing import LightContext, interactions, queries
from recbench_models.cobundle_knn import PLUGIN
from recbench_models.feedback_knn import PLUGIN as FEEDBACK
from recbench_models.item_knn import PLUGIN as ITEM_KNN

# Bundles with item 0: 3, with 1 and 2: 2, with 3 and 4: 1. Item 5 stands in none.
BUNDLES = [[0, 1], [0, 1, 2], [0, 3], [2, 4]]


def fitted(plugin: Plugin, preset: str, bundles: list[list[int]], n_items: int, folder: Path, **settings: object) -> Any:
    model = plugin.build(plugin.resolve(preset, None, settings), Catalogue(n_items, len(bundles)))
    model.fit(LightContext(interactions(bundles, n_items), folder))
    return model


def random_bundles() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [np.sort(rng.choice(30, rng.integers(2, 7), replace=False)).tolist() for _ in range(60)]


@pytest.mark.parametrize(
    ("preset", "lists", "best"),
    [
        # From {1}, items 3 to 5 share nothing: popularity orders them, then the row. From {0}, the counts of 2 and 3 are equal, and 2 is
        # more popular. From {1, 4}, items 0 and 2 both have a mean of 1.
        ("count", [[0, 2, 3, 4, 5], [1, 2, 3, 4, 5], [0, 2, 3, 5, -1]], [2, 2, 1]),
        # Item 3 stands in one bundle, and item 0 is there.
        (
            "cosine",
            [[0, 2, 3, 4, 5], [1, 3, 2, 4, 5], [2, 0, 3, 5, -1]],
            [2 / 6**0.5, 2 / 6**0.5, (1 / 2 + 1 / 2**0.5) / 2],
        ),
    ],
)
def test_lists_worked_out_by_hand(preset: str, lists: list[list[int]], best: list[float], tmp_path: Path) -> None:
    rankings = fitted(PLUGIN, preset, BUNDLES, 6, tmp_path).generate(queries([[1], [0], [1, 4]], views=("unseen",)), 5)
    assert rankings.items[0].tolist() == lists
    popularity = np.bincount([item for bundle in BUNDLES for item in bundle])[rankings.items[0, :, 0]]
    np.testing.assert_allclose(rankings.scores[0, :, 0], best + 1e-6 * popularity, rtol=2e-7)


def test_nothing_shown_gives_popularity(tmp_path: Path) -> None:
    model = fitted(PLUGIN, "cosine", BUNDLES, 6, tmp_path)
    assert model.generate(queries([[]], views=("unseen",)), 6).items.tolist() == [[[0, 1, 2, 3, 4, 5]]]


def test_scores_are_means_of_what_item_knn_sums_up(tmp_path: Path) -> None:
    bundles = random_bundles()
    count = interactions(bundles, 30).item_counts()
    asked = queries([[3], [1, 7, 20], [0, 29]])
    mean, total = (
        fitted(plugin, preset, bundles, 30, tmp_path, shrink=0).generate(asked, 30)
        for plugin, preset in ((PLUGIN, "cosine"), (ITEM_KNN, "uniform"))
    )
    for row, size in enumerate((1, 3, 2)):
        scores = np.empty((2, 30))
        for place, rankings in enumerate((mean, total)):
            scores[place, rankings.view("keep")[row]] = rankings.scores[0, row]
        np.testing.assert_allclose((scores[0] - 1e-6 * count) * size, scores[1], atol=1e-6)


def test_shrinkage_and_neighbours_reach_the_similarities(tmp_path: Path) -> None:
    model = fitted(PLUGIN, "cosine", BUNDLES, 6, tmp_path, shrink=1.0, neighbours=1)
    found = model.similarity_II.toarray()
    # Items 1 and 2 keep one neighbour each; item 0 keeps item 1, of both candidates the more alike.
    assert (np.count_nonzero(found, axis=0) <= 1).all()
    np.testing.assert_allclose(found[1, 0], 2 / (6**0.5 + 1))


@pytest.mark.parametrize("better", ["cosine", "count"])
def test_validation_takes_the_better_similarity(better: str, tmp_path: Path) -> None:
    model = PLUGIN.build(PLUGIN.resolve("validation"), Catalogue(6, 4))

    def judge(ranker: Ranker) -> float:
        second = int(ranker.generate(queries([[0]], views=("unseen",)), 2).items[0, 0, 1])
        return float(second == {"cosine": 3, "count": 2}[better])

    report = model.fit(LightContext(interactions(BUNDLES, 6), tmp_path, judge=judge))
    assert report.chosen == {"similarity": better}
    assert judge(model) == 1.0


def test_feedback_alone_decides_who_is_alike_and_bundles_break_ties(tmp_path: Path) -> None:
    # People use 0 with 4 and 0 with 5; item 1 stands in two bundles and 2 in two, 3 in one.
    model = FEEDBACK.build(FEEDBACK.resolve("default"), Catalogue(6, 4))
    feedback = Histories.from_lists([[0, 4], [0, 4], [0, 5], [], [5]])
    model.fit(LightContext(interactions(BUNDLES, 6), tmp_path, feedback=feedback))
    rankings = model.generate(queries([[0], [3]], views=("unseen",)), 5)
    assert rankings.items[0].tolist() == [[4, 5, 1, 2, 3], [0, 1, 2, 4, 5]]
    np.testing.assert_allclose(rankings.scores[0, 0, :2], [2 / 6**0.5 + 1e-6, 1 / 6**0.5], rtol=1e-6)


@pytest.mark.parametrize("feedback", [None, Histories.from_lists([[], []])])
def test_data_without_feedback_are_refused_with_a_sentence(feedback: Histories | None, tmp_path: Path) -> None:
    model = FEEDBACK.build(FEEDBACK.resolve("default"), Catalogue(6, 4))
    with pytest.raises(BadRequest, match=r"has no such feedback\. Take cobundle-knn"):
        model.fit(LightContext(interactions(BUNDLES, 6), tmp_path, feedback=feedback))
