"""k-means whose clusters hold between so many and so many vectors."""

import numpy as np

from recbench.nn.codes.quantize.equal_vectors import first_equal
from recbench.nn.codes.quantize.kmeans import LongArray, kmeans
from recbench.nn.codes.quantize.quantized import FloatArray

# N vectors, D width, K clusters

_ROWS_AT_A_TIME = 8192


def balanced_kmeans(
    vectors: FloatArray, n_clusters: int, *, least: int, most: int, seed: int, iterations: int = 20
) -> tuple[FloatArray, LongArray]:
    """Cluster centres (K, D) float32 and the cluster of each vector, (N,) int64; every cluster has `least` to `most` vectors.

    In each round every vector asks for the nearest cluster with room. One that is asked by too many keeps those that would lose most by
    going on to their next choice; one that is left with too few is given the vectors that lose least by coming. Then centres move to the
    means. It is an approximation: no exact minimum under the bounds is sought. Equal vectors may part.

    Args:
        vectors: (N, D) float32.
        n_clusters: K.
        least: fewest vectors of a cluster.
        most: largest number of vectors of a cluster.
        seed: of the start.
        iterations: rounds at most; it ends early where no vector moves.

    Raises:
        ValueError: N vectors cannot be divided so.
    """
    n = len(vectors)
    if not n_clusters * least <= n <= n_clusters * most:
        raise ValueError(
            f"{n} vectors cannot be divided among {n_clusters} clusters of {least} to {most}. Choose bounds around {n / n_clusters:.1f}."
        )
    start, _ = kmeans(vectors, n_clusters, seed=seed, iterations=1, restarts=1)
    # Fewer distinct vectors than clusters make fewer centres: some then stand in one place.
    centres: FloatArray = np.resize(start, (n_clusters, vectors.shape[1])).astype(np.float32)
    cluster = np.full(n, -1, dtype=np.int64)
    for _ in range(iterations):
        distance_NK = _distances(vectors, centres)
        found = _filled_up(_within_capacity(distance_NK, most), distance_NK, least)
        if (found == cluster).all():
            break
        cluster = found
        for number in range(n_clusters):
            members = vectors[cluster == number]
            if len(members):
                centres[number] = members.mean(axis=0, dtype=np.float64)
    return centres, cluster


def _distances(vectors: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared distance of every vector from every centre, (N, K) float32, less each vector's own square."""
    distance_NK = np.empty((len(vectors), len(centres)), dtype=np.float32)
    square_K = np.square(centres, dtype=np.float64).sum(axis=1)
    for start in range(0, len(vectors), _ROWS_AT_A_TIME):
        block = vectors[start : start + _ROWS_AT_A_TIME].astype(np.float64)
        distance_NK[start : start + len(block)] = square_K - 2.0 * block @ centres.T
    return distance_NK[first_equal(vectors)]


def _within_capacity(distance_NK: FloatArray, most: int) -> LongArray:
    """A cluster for each vector, (N,), none of more than `most`."""
    cluster = np.full(len(distance_NK), -1, dtype=np.int64)
    is_open_K = np.ones(distance_NK.shape[1], dtype=bool)
    waiting = np.arange(len(distance_NK))
    while len(waiting):
        open_K = np.flatnonzero(is_open_K)
        choice = open_K[distance_NK[np.ix_(waiting, open_K)].argmin(axis=1)]
        crowded = np.flatnonzero(np.bincount(choice, minlength=len(is_open_K)) > most)
        if len(crowded) == 0:
            cluster[waiting] = choice
            break
        is_open_K[crowded] = False
        for number in crowded:
            asking = waiting[choice == number]
            next_best = distance_NK[np.ix_(asking, np.flatnonzero(is_open_K))].min(axis=1, initial=np.inf)
            loss = next_best - distance_NK[asking, number]
            cluster[asking[np.argsort(-loss, kind="stable")[:most]]] = number
        waiting = waiting[cluster[waiting] < 0]
    return cluster


def _filled_up(cluster_N: LongArray, distance_NK: FloatArray, least: int) -> LongArray:
    """The clusters after those of fewer than `least` vectors have been given more by those that can spare them."""
    cluster_N = cluster_N.copy()
    size_K = np.bincount(cluster_N, minlength=distance_NK.shape[1])
    own_N = np.take_along_axis(distance_NK, cluster_N[:, None], axis=1)[:, 0]
    for number in np.flatnonzero(size_K < least):
        for row in np.argsort(distance_NK[:, number] - own_N, kind="stable"):
            if size_K[number] == least:
                break
            if size_K[cluster_N[row]] > least:
                size_K[cluster_N[row]] -= 1
                size_K[number] += 1
                cluster_N[row], own_N[row] = number, distance_NK[row, number]
    return cluster_N
