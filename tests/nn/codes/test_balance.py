"""Codes in equal use and codes that are unique: balanced k-means, Sinkhorn assignment, reassignment of the last level."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recbench.nn.codes.quantize.balanced_kmeans import balanced_kmeans
from recbench.nn.codes.quantize.reassignment import reassign_last_level
from recbench.nn.codes.quantize.sinkhorn import LEAST_EPSILON, sinkhorn, sinkhorn_codes


@settings(max_examples=60)
@given(
    n=st.integers(1, 40),
    n_clusters=st.integers(1, 6),
    least=st.integers(0, 6),
    spare=st.integers(0, 5),
    n_values=st.integers(1, 40),
)
def test_clusters_keep_their_bounds(n: int, n_clusters: int, least: int, spare: int, n_values: int) -> None:
    most = -(-n // n_clusters) + spare
    assume(least * n_clusters <= n)
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n_values, 3)).astype(np.float32)[rng.integers(n_values, size=n)]
    centres, cluster = balanced_kmeans(vectors, n_clusters, least=least, most=most, seed=0, iterations=3)
    assert centres.shape == (n_clusters, 3)
    sizes = np.bincount(cluster, minlength=n_clusters)
    assert len(sizes) == n_clusters
    assert sizes.min() >= least
    assert sizes.max() <= most


def test_a_crowd_is_parted_where_it_costs_least() -> None:
    # Five vectors at 0 to 4, two at 100: clusters of three and four. The one that must go is the nearest to the other cluster.
    vectors = np.array([0, 1, 2, 3, 4, 100, 101], np.float32)[:, None]
    centres, cluster = balanced_kmeans(vectors, 2, least=3, most=4, seed=0)
    assert cluster[0] == cluster[1] == cluster[2] == cluster[3] != cluster[4] == cluster[5] == cluster[6]
    assert sorted(centres[:, 0].tolist()) == pytest.approx([1.5, 205 / 3])


def test_wide_bounds_find_separated_blobs_and_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 20)
    vectors = (np.eye(4)[group] * 30 + rng.normal(size=(80, 4))).astype(np.float32)
    centres, cluster = balanced_kmeans(vectors, 4, least=0, most=80, seed=1)
    assert len(set(zip(group.tolist(), cluster.tolist(), strict=True))) == 4
    for number in range(4):
        np.testing.assert_allclose(centres[number], vectors[cluster == number].mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(cluster, balanced_kmeans(vectors, 4, least=0, most=80, seed=1)[1])


def test_bounds_that_cannot_be_kept_are_an_error() -> None:
    with pytest.raises(ValueError, match="10 vectors cannot be divided among 3 clusters of 4 to 5"):
        balanced_kmeans(np.zeros((10, 2), np.float32), 3, least=4, most=5, seed=0)


def test_a_plan_has_equal_shares() -> None:
    cost = torch.rand(24, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plan = sinkhorn(cost, epsilon=0.05, iterations=400)
    assert plan.dtype == torch.float64
    torch.testing.assert_close(plan.sum(dim=0), torch.full((8,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(24, dtype=torch.float64), atol=1e-4, rtol=0)
    # It differs from exp(-cost / epsilon) by a factor for each row and one for each column only.
    scaled = plan.log() + cost.double() / 0.05
    torch.testing.assert_close(
        scaled - scaled[:1] - scaled[:, :1] + scaled[0, 0], torch.zeros(24, 8, dtype=torch.float64), atol=1e-8, rtol=0
    )


def test_the_smallest_epsilon_stays_a_number_and_a_smaller_one_is_an_error() -> None:
    cost = torch.where(torch.eye(4) > 0, 1.0, -1.0)
    assert torch.isfinite(sinkhorn(cost, epsilon=LEAST_EPSILON, iterations=50)).all()
    with pytest.raises(ValueError, match=r"epsilon=0\.001 is too small"):
        sinkhorn(cost, epsilon=0.001, iterations=1)


def test_sinkhorn_uses_all_codes_where_the_nearest_is_always_the_same() -> None:
    vectors = torch.linspace(1.0, 2.0, 12)[:, None]
    codebook = torch.tensor([[0.0], [-1.0], [-2.0]])
    assert torch.bincount(sinkhorn_codes(vectors, codebook, epsilon=0.01), minlength=3).tolist() == [4, 4, 4]
    assert sinkhorn_codes(torch.zeros(1, 2), torch.zeros(1, 2)).tolist() == [0]


def test_sinkhorn_agrees_with_the_nearest_where_that_is_balanced() -> None:
    codebook = torch.eye(3) * 5
    vectors = codebook.repeat(4, 1) + torch.randn(12, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    assert sinkhorn_codes(vectors, codebook).tolist() == [0, 1, 2] * 4


@given(seed=st.integers(0, 10_000), n=st.integers(2, 5), size=st.integers(2, 6))
def test_a_group_is_matched_as_well_as_any_matching_could(seed: int, n: int, size: int) -> None:
    assume(n <= size)
    rng = np.random.default_rng(seed)
    residual, codebook = rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=(size, 3)).astype(np.float32)
    present = rng.integers(size, size=n).astype(np.int32)
    codes = np.stack([np.zeros(n, np.int32), present], axis=1)
    found = reassign_last_level(codes, (1, size), residual, codebook)
    chosen = found.code[:, 1]
    assert found.level_sizes == (1, size)
    assert found.n_extra == 0
    distance = np.square(residual[:, None] - codebook).sum(axis=2)

    def cost(choice: Any) -> tuple[int, float]:
        return int(np.count_nonzero(np.asarray(choice) != present)), float(distance[np.arange(n), list(choice)].sum())

    best_moves, best_distance = min(cost(choice) for choice in permutations(range(size), n))
    moves, total = cost(chosen)
    assert moves == best_moves == n - len(set(present.tolist()))
    assert total == pytest.approx(best_distance, rel=1e-4)


def test_only_groups_with_equal_codes_are_touched_and_equal_items_part_in_their_order() -> None:
    codebook = np.arange(4, dtype=np.float32)[:, None]
    codes = np.array([[0, 1], [1, 1], [0, 3], [1, 1], [2, 0], [1, 1]], np.int32)
    residual = np.array([[0.1], [1.0], [0.2], [1.0], [3.0], [1.0]], np.float32)
    found = reassign_last_level(codes, (3, 4), residual, codebook)
    assert found.code[[0, 2, 4]].tolist() == codes[[0, 2, 4]].tolist()
    # Codes 0 and 2 are equally near to 1: both are taken, the smaller one by the earlier item.
    assert found.code[[1, 3, 5], 1].tolist() == [0, 1, 2]


def test_a_group_larger_than_the_level_is_numbered() -> None:
    codes = np.array([[0, 0]] * 3 + [[1, 1]] * 2, np.int32)
    found = reassign_last_level(codes, (2, 2), np.zeros((5, 1), np.float32), np.array([[0.0], [1.0]], np.float32))
    assert found.n_extra == 1
    assert found.code[:3].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert sorted(found.code[3:, :2].tolist()) == [[1, 0], [1, 1]]
    assert len(np.unique(found.code, axis=0)) == 5
