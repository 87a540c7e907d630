"""Product quantization: digits by hand, what a rotation gains, and what must hold of any vectors."""

from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recbench.nn.codes.quantize.equal_vectors import first_equal
from recbench.nn.codes.quantize.product import Rotation, product_quantization
from recbench.nn.codes.quantize.quantized import unexplained_share


def tilted(n: int = 600) -> np.ndarray[Any, Any]:
    """Four clusters along one line, which lies across both stretches of two dimensions, and little noise."""
    rng = np.random.default_rng(0)
    place = rng.integers(4, size=n) * 4.0
    noise = rng.normal(size=(n, 4)) * 0.3
    return (place[:, None] * np.array([0.5, 0.5, 0.5, 0.5]) + noise).astype(np.float32)


def test_two_digits_by_hand() -> None:
    vectors = np.array([[0, 0, 5], [1, 0, 5], [9, 9, 5], [8, 9, 7], [9, 9, 7], [0, 1, 7]], np.float32)[:, [0, 1, 2, 2]]
    found = product_quantization(vectors, n_digits=2, size=2, seed=0, rotation="none")
    first, second = found.codes.T
    assert first[0] == first[1] == first[5] != first[2] == first[3] == first[4]
    assert second[0] == second[1] == second[2] != second[3] == second[4] == second[5]
    np.testing.assert_allclose(found.codebooks[0][first[0]], [1 / 3, 1 / 3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.codebooks[1][second[0]], [0, 0, 5, 5], atol=1e-6)
    assert found.unexplained[1] == pytest.approx(unexplained_share(vectors, found.reconstruction), rel=1e-4)


@pytest.mark.parametrize("rotation", ["none", "opq"])
def test_entries_add_up_to_the_reconstruction_and_each_is_the_nearest(rotation: Rotation) -> None:
    vectors = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    found = product_quantization(vectors, n_digits=4, size=8, seed=0, rotation=rotation, rounds=5)
    assert found.codes.shape == (400, 4)
    assert found.level_sizes == (8, 8, 8, 8)
    total = sum(codebook[codes] for codebook, codes in zip(found.codebooks, found.codes.T, strict=True))
    np.testing.assert_allclose(found.reconstruction, total, atol=1e-5)
    assert found.unexplained[3] == pytest.approx(unexplained_share(vectors, total), rel=1e-4)
    assert 1.0 > found.unexplained[0] > found.unexplained[1] > found.unexplained[2] > found.unexplained[3] > 0.0
    # Stretches are orthogonal, so that each digit can be chosen alone: no other entry of a digit comes nearer.
    for digit, codebook in enumerate(found.codebooks):
        rest = vectors - total + codebook[found.codes[:, digit]]
        distance = np.square(rest[:, None] - codebook).sum(axis=2)
        np.testing.assert_allclose(distance[np.arange(400), found.codes[:, digit]], distance.min(axis=1), atol=1e-5)


def test_the_rotation_is_orthogonal_and_leaves_less_than_none() -> None:
    vectors = tilted()
    plain = product_quantization(vectors, n_digits=2, size=4, seed=0, rotation="none")
    rotated = product_quantization(vectors, n_digits=2, size=4, seed=0, rotation="opq", rounds=10)
    assert rotated.unexplained[1] < 0.9 * plain.unexplained[1]
    first, second = rotated.codebooks
    np.testing.assert_allclose(first @ second.T, 0, atol=1e-4)


@pytest.mark.parametrize("rotation", ["none", "opq"])
def test_the_seed_alone_decides_whatever_the_number_of_threads(rotation: Rotation) -> None:
    vectors = np.random.default_rng(2).normal(size=(2000, 16)).astype(np.float32)
    before = faiss.omp_get_max_threads(), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            torch.set_num_threads(threads)
            found.append(product_quantization(vectors, n_digits=4, size=32, seed=5, rotation=rotation, rounds=3))
            assert (faiss.omp_get_max_threads(), torch.get_num_threads()) == (threads, threads)
    finally:
        faiss.omp_set_num_threads(before[0])
        torch.set_num_threads(before[1])
    np.testing.assert_array_equal(found[0].codes, found[1].codes)
    np.testing.assert_array_equal(found[0].reconstruction, found[1].reconstruction)
    other = product_quantization(vectors, n_digits=4, size=32, seed=6, rotation=rotation, rounds=3)
    assert (other.codes != found[0].codes).any()


def test_rows_left_out_of_the_training_get_codes_and_shape_none() -> None:
    vectors = np.random.default_rng(3).normal(size=(300, 4)).astype(np.float32)
    others = vectors.copy()
    others[200:] *= 9
    first, second = (
        product_quantization(part, n_digits=2, size=16, seed=0, rounds=2, train_rows=np.arange(200)) for part in (vectors, others)
    )
    np.testing.assert_array_equal(first.codes[:200], second.codes[:200])
    for one, two in zip(first.codebooks, second.codebooks, strict=True):
        np.testing.assert_array_equal(one, two)
    assert second.codes.shape == (300, 2)


@settings(max_examples=50)
@given(
    vectors=arrays(np.float32, st.tuples(st.integers(1, 20), st.just(4)), elements=st.sampled_from([-1.0, 0.0, -0.0, 1.0, 2.0])),
    size=st.integers(1, 6),
    rotation=st.sampled_from(["none", "opq"]),
)
def test_any_vectors_have_codes_and_equal_ones_equal_codes(vectors: np.ndarray[Any, Any], size: int, rotation: Rotation) -> None:
    found = product_quantization(vectors, n_digits=2, size=size, seed=0, rotation=rotation, rounds=1, iterations=2)
    assert ((found.codes >= 0) & (found.codes < np.array(found.level_sizes))).all()
    assert max(found.level_sizes) <= size
    of_value = {tuple(row): tuple(code) for row, code in zip((vectors + 0.0).tolist(), found.codes.tolist(), strict=True)}
    assert [of_value[tuple(row)] for row in (vectors + 0.0).tolist()] == [tuple(code) for code in found.codes.tolist()]


def test_rounding_that_depends_on_the_row_parts_no_equal_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix product may give equal rows another last digit, and a vector between two entries then another code."""
    vectors = np.random.default_rng(4).normal(size=(20, 2)).astype(np.float32)
    vectors[[7, 19]] = vectors[3]

    def by_row(part: np.ndarray[Any, Any], entries: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return np.zeros(len(part), np.float32), np.arange(len(part)) % len(entries)

    monkeypatch.setattr("recbench.nn.codes.quantize.product.nearest_centres", by_row)
    found = product_quantization(vectors, n_digits=2, size=5, seed=0, rotation="none")
    assert len(np.unique(found.codes[[3, 7, 19]], axis=0)) == 1
    assert len(np.unique(found.reconstruction[[3, 7, 19]], axis=0)) == 1


def test_the_first_of_equal_vectors_is_found_and_zeros_are_equal() -> None:
    assert first_equal(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, -0.0]], np.float32)).tolist() == [0, 0, 2, 0, 2]
    assert first_equal(np.empty((0, 3), np.float32)).tolist() == []


def test_steps_are_counted() -> None:
    steps: list[None] = []
    vectors = tilted(50)
    product_quantization(vectors, n_digits=2, size=4, seed=0, rounds=3, after_step=lambda: steps.append(None))
    assert len(steps) == 3 + 2
    steps.clear()
    product_quantization(vectors, n_digits=2, size=50, seed=0, rounds=3, after_step=lambda: steps.append(None))
    assert len(steps) == 2, "as many entries as vectors: there is no rotation to learn"


def test_stretches_of_unlike_width_and_no_rows_are_errors() -> None:
    with pytest.raises(ValueError, match="width 4 cannot be cut into 3"):
        product_quantization(tilted(), n_digits=3, size=4, seed=0)
    with pytest.raises(ValueError, match="no vector to train on"):
        product_quantization(tilted(), n_digits=2, size=4, seed=0, train_rows=np.empty(0, np.int64))
