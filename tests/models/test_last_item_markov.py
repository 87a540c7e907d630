"""Last-item Markov chain: pairs within users, popularity behind them."""

from pathlib import Path

import numpy as np

from recbench.core import Catalogue, Recommender
from recbench.testing import LightContext, interactions, queries
from recbench_models.last_item_markov import PLUGIN


def fitted(lists: list[list[int]], n_items: int, tmp_path: Path) -> Recommender:
    model = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(n_items, len(lists)))
    model.fit(LightContext(interactions(lists, n_items), tmp_path))
    return model


def test_followers_first_then_popularity(tmp_path: Path) -> None:
    # After 0: 1 twice, 2 once, 3 once. Counts: 0: 4, 1: 2, 2: 2, 3: 3, 4: 0.
    model = fitted([[0, 1, 0, 1], [], [0, 2, 3], [3, 0, 3, 2][:3]], 5, tmp_path)
    rankings = model.generate(queries([[4, 0], [1], [], [4], [1, 2, 0]]), 5)
    assert rankings.view("keep").tolist() == [
        [1, 3, 2, 0, 4],  # 2 and 3 followed once each: 3 is more popular
        [0, 3, 1, 2, 4],  # 0 followed 1
        [0, 3, 1, 2, 4],  # no last item: popularity, 1 before 2 at equal counts
        [0, 3, 1, 2, 4],  # nothing followed 4
        [1, 3, 2, 0, 4],
    ]
    assert rankings.view("unseen").tolist() == [
        [1, 3, 2, -1, -1],
        [0, 3, 2, 4, -1],
        [0, 3, 1, 2, 4],
        [0, 3, 1, 2, -1],
        [3, 4, -1, -1, -1],
    ]
    np.testing.assert_allclose(rankings.scores[0, 0], [2 + 2e-6, 1 + 3e-6, 1 + 1e-6, 4e-6, 0], rtol=1e-6)


def test_the_next_users_first_item_follows_nothing(tmp_path: Path) -> None:
    model = fitted([[], [0, 1], [2, 3], [], []], 4, tmp_path)
    assert model.pair_II.toarray().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_a_repeated_item_follows_itself(tmp_path: Path) -> None:
    model = fitted([[2, 2, 1]], 3, tmp_path)
    rankings = model.generate(queries([[2]]), 3)
    assert rankings.view("keep").tolist() == [[2, 1, 0]]
    assert rankings.view("unseen").tolist() == [[1, 0, -1]]
