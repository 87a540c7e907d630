"""Whitening: by hand, what must hold of any vectors, and what does not count."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recbench.nn.codes.quantize.whitening import whitened


def correlated(n: int = 500, width: int = 12) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + 5.0).astype(np.float32)


def test_two_dimensions_by_hand() -> None:
    # Mean (1, 1). Variances 8 along (1, 1) / sqrt 2 and 2 along (1, -1) / sqrt 2; distances from the mean are 4 and 2 there.
    vectors = np.array([[1, 1]]) + np.array([[4, 4], [-4, -4], [2, -2], [-2, 2]]) / np.sqrt(2)
    found = whitened(vectors.astype(np.float32), 2)
    np.testing.assert_allclose(found[:2, 0], [np.sqrt(2), -np.sqrt(2)], atol=1e-6)
    np.testing.assert_allclose(np.abs(found[2:, 1]), [np.sqrt(2)] * 2, atol=1e-6)
    np.testing.assert_allclose(found[[0, 1, 2, 3], [1, 1, 0, 0]], 0, atol=1e-6)


def test_components_have_mean_0_variance_1_no_correlation_and_the_largest_come_first() -> None:
    vectors = correlated()
    found = whitened(vectors, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(5), atol=1e-4)
    # What five components explain of the vectors is as much as five directions can.
    centred = vectors - vectors.mean(axis=0)
    explained = np.square(np.linalg.lstsq(found, centred, rcond=None)[0]).sum() * len(found)
    assert explained == pytest.approx(np.square(np.linalg.svd(centred, compute_uv=False)[:5]).sum(), rel=1e-3)


def test_rows_left_out_of_the_fit_shape_nothing() -> None:
    vectors, rows = correlated(), np.arange(100)
    found = whitened(vectors, 4, fit_rows=rows)
    np.testing.assert_array_equal(found[:100], whitened(vectors[:100], 4))
    others = vectors.copy()
    others[100:] *= 7
    np.testing.assert_array_equal(whitened(others, 4, fit_rows=rows)[:100], found[:100])
    assert (whitened(vectors, 4)[:100] != found[:100]).any()


def test_unit_length_divides_each_vector_by_its_length() -> None:
    vectors = correlated()
    plain = whitened(vectors, 4)
    np.testing.assert_allclose(whitened(vectors, 4, unit_length=True), plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)
    assert not whitened(np.ones((3, 4), np.float32), 2, unit_length=True).any()


@settings(max_examples=40)
@given(
    vectors=arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.sampled_from([-1.0, 0.0, -0.0, 1.0, 3.0])),
    width=st.integers(1, 7),
)
def test_any_vectors_become_finite_ones_of_the_width_asked_for_and_equal_ones_stay_equal(vectors: np.ndarray[Any, Any], width: int) -> None:
    found = whitened(vectors, width)
    assert found.shape == (len(vectors), width)
    assert np.isfinite(found).all()
    variance = found.var(axis=0)
    assert ((np.abs(variance - 1) < 1e-3) | (variance == 0)).all()
    assert np.count_nonzero(variance) == min(width, np.linalg.matrix_rank((vectors - vectors.mean(axis=0)).astype(np.float64), tol=1e-5))
    of_value = {tuple(row): tuple(new) for row, new in zip((vectors + 0.0).tolist(), found.tolist(), strict=True)}
    assert [of_value[tuple(row)] for row in (vectors + 0.0).tolist()] == [tuple(row) for row in found.tolist()]


def test_the_number_of_threads_does_not_count_and_is_left_as_it_was() -> None:
    vectors, before = correlated(3000, 64), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(whitened(vectors, 32))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_no_row_to_fit_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="no vector to fit on"):
        whitened(correlated(), 2, fit_rows=np.empty(0, np.int64))
