"""item-knn: similarities against scipy, ages, neighbours, ties."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from recbench.core import BadRequest, Catalogue, Recommender
from recbench.nn.ranking import neighbours
from recbench.testing import LightContext, interactions, queries
from recbench_models.item_knn import PLUGIN


def fitted(lists: list[list[int]], n_items: int, tmp_path: Path, **settings: object) -> Recommender:
    model = PLUGIN.build(PLUGIN.resolve("uniform", None, settings), Catalogue(n_items, len(lists)))
    model.fit(LightContext(interactions(lists, n_items), tmp_path))
    return model


def random_lists(n_users: int, n_items: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, n_items, rng.integers(1, 9)).tolist() for _ in range(n_users)] + [list(range(n_items))]


@pytest.mark.parametrize("pairs", [1, 70, 8_000_000])
def test_similarities_are_the_cosines_of_scipy(pairs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_PAIRS", pairs)
    lists = random_lists(40, 30)
    columns = np.zeros((len(lists), 30))
    for user, row in enumerate(lists):
        columns[user, row] = 1
    expected = 1 - cdist(columns.T, columns.T, "cosine")
    np.fill_diagonal(expected, 0)
    found = fitted(lists, 30, tmp_path, shrink=0).similarity_II.toarray()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_pairs_beyond_the_free_memory_are_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_PAIRS", 100)
    monkeypatch.setattr(neighbours.psutil, "virtual_memory", lambda: SimpleNamespace(available=20_000))
    lists = random_lists(200, 300)
    with pytest.raises(
        BadRequest, match=r"similar pairs of 300 items, about [\d,]+, take \S+ \S+ more of memory, and 19.5 KiB are free.*neighbours=100"
    ):
        fitted(lists, 300, tmp_path)
    assert fitted(lists, 300, tmp_path, neighbours=1).similarity_II.nnz <= 300
    with pytest.raises(BadRequest, match="fewer neighbours than 90"):
        fitted(lists, 300, tmp_path, neighbours=90)


def test_only_the_nearest_neighbours_of_a_candidate_count(tmp_path: Path) -> None:
    lists = random_lists(40, 30)
    dense = fitted(lists, 30, tmp_path).similarity_II.toarray()
    pruned = fitted(lists, 30, tmp_path, neighbours=4).similarity_II.toarray()
    for candidate in range(30):
        nearest = np.argsort(-dense[:, candidate], kind="stable")[:4]
        expected = np.zeros(30, np.float32)
        expected[nearest] = dense[nearest, candidate]
        np.testing.assert_array_equal(pruned[:, candidate], expected)


def test_a_ranking_worked_out_by_hand(tmp_path: Path) -> None:
    # Users of each item: 0: a b, 1: a, 2: a b c, 3: c, 4: nobody.
    model = fitted([[0, 1, 2], [0, 2], [3, 2]], 5, tmp_path, shrink=0)
    rankings = model.generate(queries([[1], [3, 0], [4], []]), 5)
    half, third, sixth = 0.5**0.5, 3**-0.5, 2 / 6**0.5
    np.testing.assert_allclose(rankings.scores[0, 0], [half, third, 0, 0, 0], rtol=1e-6)
    assert rankings.view("keep").tolist() == [[0, 2, 1, 3, 4], [2, 1, 0, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert rankings.view("unseen").tolist() == [[0, 2, 3, 4, -1], [2, 1, 4, -1, -1], [0, 1, 2, 3, -1], [0, 1, 2, 3, 4]]
    np.testing.assert_allclose(rankings.scores[0, 1, :2], [third + sixth, half], rtol=1e-6)


def test_older_items_weigh_less_and_a_repeated_one_counts_at_its_latest_place(tmp_path: Path) -> None:
    model = fitted([[0, 2], [1, 3]], 4, tmp_path, decay=0.5, shrink=0)
    rankings = model.generate(queries([[0, 1], [0, 1, 0], [1, 1, 0]], views=("unseen",)), 2)
    assert rankings.items[0].tolist() == [[3, 2], [2, 3], [2, 3]]
    np.testing.assert_allclose(rankings.scores[0], [[1, 0.5], [1, 0.5], [1, 0.5]], rtol=1e-6)


def test_equal_cosines_go_to_the_pair_with_more_users_in_common(tmp_path: Path) -> None:
    # cosine(0, 1) = 1 / sqrt(4 * 1) and cosine(0, 2) = 2 / sqrt(4 * 4) are equal.
    lists = [[0, 1, 2], [0, 2], [0], [0], [2], [2]]
    assert fitted(lists, 3, tmp_path, shrink=0).generate(queries([[0]], views=("unseen",)), 2).items.tolist() == [[[1, 2]]]
    assert fitted(lists, 3, tmp_path).generate(queries([[0]], views=("unseen",)), 2).items.tolist() == [[[2, 1]]]


def test_bundles_have_no_order_to_weigh_items_by() -> None:
    assert PLUGIN.resolve(PLUGIN.default_preset("cpu", "bundle")).decay == 1.0
