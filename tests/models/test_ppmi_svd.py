"""ppmi-svd: mutual information by hand, a whole decomposition, candidates before all others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recbench.core import Catalogue, Queries, Ranker, Rankings
from recbench.testing import LightContext, interactions, queries
from recbench_models.cobundle_knn import PLUGIN as COBUNDLE
from recbench_models.ppmi_svd import PLUGIN
from recbench_models.ppmi_svd.vectors import positive_pmi, svd_vectors

N_ITEMS = 30


def bundles() -> list[list[int]]:
    rng = np.random.default_rng(2)
    return [np.sort(rng.choice(N_ITEMS - 4, rng.integers(2, 6), replace=False)).tolist() for _ in range(40)]


def fitted(folder: Path, **overrides: object) -> Any:
    model = PLUGIN.build(PLUGIN.resolve("default", None, overrides), Catalogue(N_ITEMS, 40))
    model.fit(LightContext(interactions(bundles(), N_ITEMS), folder))
    return model


def common(seed: int, n: int) -> np.ndarray:
    """A symmetric matrix of counts with an empty diagonal, and with an item that shares nothing."""
    counts = np.triu(np.random.default_rng(seed).integers(0, 4, (n, n)), 1).astype(float)
    counts[:, -1] = 0
    return counts + counts.T


def test_mutual_information_by_hand() -> None:
    # Row sums 3, 3, 2, 0 of 8: 0 and 1 share 2, each of them 1 with item 2.
    found = positive_pmi(csr_array(np.array([[0, 2, 1, 0], [2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], float))).toarray()
    strong, weak = np.log(2 * 8 / 9), np.log(8 / 6)
    np.testing.assert_allclose(found, [[0, strong, weak, 0], [strong, 0, weak, 0], [weak, weak, 0, 0], [0, 0, 0, 0]])


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(3, 12))
def test_mutual_information_is_symmetric_and_never_negative(seed: int, n: int) -> None:
    found = positive_pmi(csr_array(common(seed, n))).toarray()
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    assert (found >= 0).all()


def test_vectors_of_full_width_keep_all_of_the_matrix() -> None:
    # P = U S V' with V = U but for signs, so that U S U' is P with its negative eigenvalues turned.
    matrix = positive_pmi(csr_array(common(0, 40)))
    value, vector = np.linalg.eigh(matrix.toarray()[:-1, :-1])
    expected = (vector * np.abs(value)) @ vector.T
    length = np.sqrt(np.diag(expected))
    found = svd_vectors(matrix, 100, 0)
    assert found.shape == (40, 40)
    assert not found[-1].any()
    np.testing.assert_allclose((found @ found.T)[:-1, :-1], expected / np.outer(length, length), atol=1e-5)


@pytest.mark.parametrize("similarity", ["cosine", "count"])
def test_without_vectors_it_is_cobundle_knn(similarity: str, tmp_path: Path) -> None:
    asked = queries([[0], [3, 11], [28], []])
    alone = of_cobundle_knn(similarity, tmp_path, asked)
    found = fitted(tmp_path, vector_weight=0.0, bundles={"similarity": similarity}).generate(asked, N_ITEMS)
    np.testing.assert_array_equal(found.view("unseen"), alone.view("unseen"))


@pytest.mark.parametrize("similarity", ["cosine", "count"])
def test_candidates_change_places_among_themselves_alone(similarity: str, tmp_path: Path) -> None:
    model = fitted(tmp_path, vector_weight=5.0, n_candidates=6, bundles={"similarity": similarity})
    alike = model.by_bundles.similarity_II.toarray()
    shown = sorted(map(int, np.unravel_index(alike.argmax(), alike.shape)))
    asked = queries([shown, [3, 11], [28], []], views=("unseen",))
    alone = of_cobundle_knn(similarity, tmp_path, asked)
    found = model.generate(asked, N_ITEMS)
    lists, before = found.items[0], alone.items[0]
    # Items that are shown take no candidate's place, though here they are more alike than any others.
    np.testing.assert_array_equal(np.sort(lists[:, :6]), np.sort(before[:, :6]))
    np.testing.assert_array_equal(lists[:, 6:], before[:, 6:])
    assert (lists[:2] != before[:2]).any()
    # An item of no bundle and an empty query have no candidates.
    np.testing.assert_array_equal(lists[2:], before[2:])
    np.testing.assert_array_equal(found.scores[0, 2:], alone.scores[0, 2:])
    # Counts are divided by the best of the query, and a constant keeps candidates in front.
    by_bundles = np.empty(N_ITEMS)
    by_bundles[before[0, : N_ITEMS - 2]] = alone.scores[0, 0, : N_ITEMS - 2] / (1 if similarity == "cosine" else alone.scores[0, 0, 0])
    cosine = model.vector_ID @ model.vector_ID[shown].mean(0)
    np.testing.assert_allclose(found.scores[0, 0, :6], (by_bundles + 5 * (1 + cosine))[lists[0, :6]], atol=1e-5)


def test_the_order_of_what_is_shown_does_not_matter(tmp_path: Path) -> None:
    model = fitted(tmp_path, vector_weight=1.0)
    one, other = (model.generate(queries([shown], views=("unseen",)), N_ITEMS) for shown in ([1, 5, 9], [9, 1, 5]))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_validation_picks_the_weight(tmp_path: Path) -> None:
    model = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(N_ITEMS, 40))
    seen = []

    def judge(ranker: Ranker) -> float:
        seen.append(ranker.vector_weight)
        return float(ranker.vector_weight == 0.3)

    report = model.fit(LightContext(interactions(bundles(), N_ITEMS), tmp_path, judge=judge))
    assert seen == [0.0, 0.1, 0.3, 1.0]
    assert report.chosen == {"similarity": "cosine", "vector_weight": 0.3}


def of_cobundle_knn(preset: str, folder: Path, asked: Queries) -> Rankings:
    model = COBUNDLE.build(COBUNDLE.resolve(preset), Catalogue(N_ITEMS, 40))
    model.fit(LightContext(interactions(bundles(), N_ITEMS), folder))
    return model.generate(asked, N_ITEMS)
