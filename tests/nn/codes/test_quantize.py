"""k-means, level by level and cluster within cluster: what the codes must satisfy whatever the vectors are."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recbench.nn.codes.quantize.hierarchical_kmeans import hierarchical_kmeans
from recbench.nn.codes.quantize.kmeans import kmeans
from recbench.nn.codes.quantize.quantized import unexplained_share
from recbench.nn.codes.quantize.residual_kmeans import residual_kmeans
from recbench.nn.codes.quantize.scaling import scaled

QUICK = {"iterations": 10, "restarts": 1}


def clustered(n: int = 400, width: int = 16, seed: int = 0) -> np.ndarray[Any, Any]:
    """Vectors in twelve loose clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, width)) * 3
    return (centres[rng.integers(12, size=n)] + rng.normal(size=(n, width))).astype(np.float32)


def blobs(per_blob: int = 25) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Four groups of vectors, far from each other, and the group of each vector."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(4), per_blob)
    corner = np.array([[10, 0, 0], [-10, 0, 0], [0, 10, 0], [0, 0, 10]])
    return (corner[group] + rng.normal(size=(len(group), 3)) * 0.1).astype(np.float32), group


def test_four_separated_blobs_are_found() -> None:
    vectors, group = blobs()
    centres, nearest = kmeans(vectors, 4, seed=3, iterations=20, restarts=5)
    assert len({(int(a), int(b)) for a, b in zip(group, nearest, strict=True)}) == 4
    for number in range(4):
        np.testing.assert_allclose(centres[number], vectors[nearest == number].mean(axis=0), atol=1e-4)


@given(
    vectors=arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.sampled_from([-1.0, 0.0, -0.0, 1.0, 2.0])),
    size=st.integers(1, 9),
)
def test_clusters_are_as_many_as_possible_none_empty_and_nearest(vectors: np.ndarray[Any, Any], size: int) -> None:
    centres, nearest = kmeans(vectors, size, seed=0, **QUICK)
    distinct = len({tuple(row) for row in (vectors + 0.0).tolist()})
    assert len(centres) == min(size, distinct)
    assert set(nearest.tolist()) == set(range(len(centres)))
    distance = np.square(vectors[:, None] - centres[None]).sum(axis=2)
    np.testing.assert_allclose(distance[np.arange(len(vectors)), nearest], distance.min(axis=1), atol=1e-5)
    together = {tuple(row): int(number) for row, number in zip((vectors + 0.0).tolist(), nearest, strict=True)}
    assert [together[tuple(row)] for row in (vectors + 0.0).tolist()] == nearest.tolist()


def test_an_empty_cluster_gets_the_farthest_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(60)

    def badly(width: int, n_clusters: int, **options: Any) -> Any:
        centroids = np.full((n_clusters, width), 100.0, dtype=np.float32)
        return SimpleNamespace(centroids=centroids, train=lambda *_, **__: None)

    monkeypatch.setattr(faiss, "Kmeans", badly)
    centres, nearest = kmeans(vectors, 8, seed=0, **QUICK)
    assert set(nearest.tolist()) == set(range(8))
    farthest = np.square(vectors - 100.0).sum(axis=1).argmax()
    assert (centres == vectors[farthest]).all(axis=1).any()


def test_levels_add_up_to_the_reconstruction_and_leave_less_and_less() -> None:
    vectors = clustered()
    found = residual_kmeans(vectors, n_levels=3, size=8, seed=0, **QUICK)
    assert found.codes.shape == (400, 3)
    assert found.level_sizes == (8, 8, 8)
    total = sum(codebook[codes] for codebook, codes in zip(found.codebooks, found.codes.T, strict=True))
    np.testing.assert_allclose(found.reconstruction, total, atol=1e-5)
    assert 1.0 > found.unexplained[0] > found.unexplained[1] > found.unexplained[2] > 0.0
    assert found.unexplained[2] == pytest.approx(unexplained_share(vectors, total), rel=1e-4)
    assert all(len(np.unique(codes)) == 8 for codes in found.codes.T)


def test_codes_say_more_than_codes_drawn_at_random() -> None:
    vectors = clustered()
    found = residual_kmeans(vectors, n_levels=3, size=8, seed=0, **QUICK)
    rng = np.random.default_rng(0)
    # The best that entries can do for groups drawn at random: their means.
    residual = vectors.copy()
    for level in range(3):
        group = rng.permutation(found.codes[:, level])
        for code in range(8):
            residual[group == code] -= residual[group == code].mean(axis=0)
        assert found.unexplained[level] < 0.8 * unexplained_share(vectors, vectors - residual)


def test_as_many_codes_as_vectors_leave_nothing() -> None:
    vectors = clustered(50)
    found = residual_kmeans(vectors, n_levels=2, size=50, seed=0, **QUICK)
    assert found.level_sizes == (50, 1)
    assert found.unexplained == (0.0, 0.0)
    np.testing.assert_array_equal(found.reconstruction, vectors)


def test_the_seed_alone_decides_whatever_the_number_of_threads() -> None:
    vectors = clustered(3000, 48)
    before = faiss.omp_get_max_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            found.append(residual_kmeans(vectors, n_levels=2, size=64, seed=5, **QUICK))
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].codes, other.codes)
        np.testing.assert_array_equal(found[0].reconstruction, other.reconstruction)
    assert (residual_kmeans(vectors, n_levels=2, size=64, seed=6, **QUICK).codes != found[0].codes).any()


def test_equal_vectors_have_equal_codes_and_one_vector_alone_makes_one_code() -> None:
    vectors = clustered(300)
    vectors[[7, 70, 270]] = vectors[3]
    codes = residual_kmeans(vectors, n_levels=3, size=16, seed=0, **QUICK).codes
    assert len(np.unique(codes[[3, 7, 70, 270]], axis=0)) == 1
    same = residual_kmeans(np.ones((30, 5), np.float32), n_levels=3, size=16, seed=0)
    assert same.level_sizes == (1, 1, 1)
    assert not same.codes.any()
    assert same.unexplained == (0.0, 0.0, 0.0)


def test_scaling_takes_away_mean_and_deviation_and_leaves_constants_at_zero() -> None:
    vectors = clustered(200, 4)
    vectors[:, 2] = 0.1
    np.testing.assert_array_equal(scaled(vectors, "raw"), vectors)
    centred, standardised = scaled(vectors, "centred"), scaled(vectors, "standardised")
    np.testing.assert_allclose(centred, vectors - vectors.mean(axis=0, dtype=np.float64), atol=1e-6)
    np.testing.assert_allclose(standardised.std(axis=0), [1, 1, 0, 1], atol=1e-5)
    assert not centred[:, 2].any()
    assert not standardised[:, 2].any()
    assert centred.dtype == standardised.dtype == np.float32


def test_centring_changes_no_code_that_raw_vectors_get() -> None:
    vectors, group = blobs()
    for scaling in ("raw", "centred"):
        codes = residual_kmeans(scaled(vectors, scaling), n_levels=1, size=4, seed=0).codes[:, 0]  # type: ignore[arg-type]
        assert len({(int(a), int(b)) for a, b in zip(group, codes, strict=True)}) == 4


def test_a_tree_of_clusters_names_every_vector_by_its_path() -> None:
    vectors = clustered(500)
    paths = hierarchical_kmeans(vectors, n_children=6, n_levels=5, seed=0, **QUICK)
    assert paths.shape == (500, 5)
    assert paths.min() == 0
    assert paths.max() == 5
    assert len(np.unique(paths[:, 0])) == 6
    for depth in range(1, 5):
        prefixes, node = np.unique(paths[:, :depth], axis=0, return_inverse=True)
        for number in range(len(prefixes)):
            members = np.flatnonzero(node.reshape(-1) == number)
            if len(members) == 1:
                assert not paths[members, depth:].any()
            elif len(members) <= 6:
                assert paths[members, depth].tolist() == list(range(len(members)))
            else:
                assert len(np.unique(paths[members, depth])) == 6
    # Clusters of the first level are compact: a vector is nearer to its cluster's mean than to the mean of all.
    means = np.stack([vectors[paths[:, 0] == child].mean(axis=0) for child in range(6)])
    assert np.square(vectors - means[paths[:, 0]]).sum() < 0.8 * np.square(vectors - vectors.mean(axis=0)).sum()
    np.testing.assert_array_equal(paths, hierarchical_kmeans(vectors, n_children=6, n_levels=5, seed=0, **QUICK))


def test_equal_vectors_go_down_the_tree_together() -> None:
    paths = hierarchical_kmeans(np.zeros((20, 3), np.float32), n_children=4, n_levels=3, seed=0, **QUICK)
    assert not paths.any()
    few = hierarchical_kmeans(np.zeros((3, 3), np.float32), n_children=4, n_levels=2, seed=0, **QUICK)
    assert few.tolist() == [[0, 0], [0, 1], [0, 2]]


def test_settings_import_no_torch() -> None:
    code = "import sys, recbench.nn.codes.quantize.settings; assert not {'torch', 'faiss', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
