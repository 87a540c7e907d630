"""Similar items. That held-out events do not reach them is part of the contract's leak test."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench_models.gram.neighbours import nearest_items


def test_the_nearest_come_first_and_never_the_item_itself() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 2], [0.5, 0.5], [-1, 0]], np.float32)
    assert nearest_items(vectors, 2).tolist() == [[1, 3], [0, 3], [3, 1], [1, 0], [2, 3]]


def test_equal_cosines_stand_in_the_order_of_rows() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 3], [0, 2], [0, 0]], np.float32)
    assert nearest_items(vectors, 3).tolist() == [[1, 2, 3], [2, 3, 0], [1, 3, 0], [1, 2, 0], [0, 1, 2]]


def test_a_small_catalogue_has_fewer_neighbours() -> None:
    assert nearest_items(np.eye(3, dtype=np.float32), 5).shape == (3, 2)
    assert nearest_items(np.ones((1, 2), np.float32), 5).shape == (1, 0)


@settings(deadline=None, max_examples=50)
@given(n_items=st.integers(2, 40), k=st.integers(0, 8), seed=st.integers(0, 100))
def test_they_are_the_first_of_a_full_sort(n_items: int, k: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).integers(-2, 3, (n_items, 3)).astype(np.float32)
    found = nearest_items(vectors, k)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    expected = np.argsort(-cosine, axis=1, kind="stable")[:, : min(k, n_items - 1)]
    assert found.dtype == np.int32
    for item in range(n_items):
        np.testing.assert_allclose(cosine[item, found[item]], cosine[item, expected[item]], atol=1e-6)
        assert item not in found[item]
