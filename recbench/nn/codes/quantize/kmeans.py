"""k-means with faiss: no empty clusters, equal vectors together, and the same result on every number of threads."""

import numpy as np
from numpy.typing import NDArray

from recbench.nn.codes.quantize.one_thread import one_thread
from recbench.nn.codes.quantize.quantized import FloatArray

LongArray = NDArray[np.int64]
_LARGEST_SEED = 2**31


def kmeans(vectors: FloatArray, n_clusters: int, *, seed: int, iterations: int, restarts: int) -> tuple[FloatArray, LongArray]:
    """Cluster centres (k, d) float32 and the number of the nearest one to each vector, (n,) int64; every centre has a vector.

    Args:
        vectors: (n, d) float32.
        n_clusters: k, cut to the number of distinct vectors.
        seed: of the random starts.
        iterations: of one start.
        restarts: the start that ends with the smallest error is taken.
    """
    # Equal vectors must end in one cluster, which the last digit of a distance could prevent: each is looked at once. Adding 0
    # makes -0.0 and 0.0 the same.
    distinct, row_of, counts = np.unique(np.asarray(vectors, dtype=np.float32) + 0.0, axis=0, return_inverse=True, return_counts=True)
    centres, nearest = _kmeans_of_distinct(distinct, counts.astype(np.float32), n_clusters, seed, iterations, restarts)
    return centres, nearest[row_of.reshape(-1)]


def _kmeans_of_distinct(
    vectors: FloatArray, weights: FloatArray, n_clusters: int, seed: int, iterations: int, restarts: int
) -> tuple[FloatArray, LongArray]:
    n, width = vectors.shape
    if n <= n_clusters:
        return vectors, np.arange(n, dtype=np.int64)
    import faiss

    clustering = faiss.Kmeans(
        width,
        n_clusters,
        niter=iterations,
        nredo=restarts,
        seed=seed % _LARGEST_SEED,
        min_points_per_centroid=1,
        spherical=False,
    )
    with one_thread():
        clustering.train(vectors, weights=weights)
        centres: FloatArray = np.array(clustering.centroids, dtype=np.float32)
        squared_distance, nearest = nearest_centres(vectors, centres)
        # Every round moves unused centres onto vectors that were at none, so the error falls and the loop ends.
        while len(unused := np.flatnonzero(np.bincount(nearest, minlength=n_clusters) == 0)):
            farthest = np.argsort(-squared_distance, kind="stable")[: len(unused)]
            centres[unused] = vectors[farthest]
            squared_distance, nearest = nearest_centres(vectors, centres)
    return centres, nearest


def more_rounds(
    vectors: FloatArray, n_clusters: int, centres: FloatArray | None, *, seed: int, iterations: int
) -> tuple[FloatArray, LongArray]:
    """Centres (k, d) after more rounds of k-means, and the number of the nearest one to each vector, (n,).

    For quantizers that change the vectors between rounds: clusters that became empty are for faiss to fill.

    Args:
        vectors: (n, d) float32, more of them than clusters.
        n_clusters: k.
        centres: (k, d) to go on from; None: start at random vectors.
        seed: of the start and of what fills empty clusters.
        iterations: how many rounds.
    """
    import faiss

    clustering = faiss.Kmeans(vectors.shape[1], n_clusters, niter=iterations, seed=seed % _LARGEST_SEED, min_points_per_centroid=1)
    with one_thread():
        clustering.train(vectors, init_centroids=centres)
        found: FloatArray = np.array(clustering.centroids, dtype=np.float32)
        return found, nearest_centres(vectors, found)[1]


def nearest_centres(vectors: FloatArray, centres: FloatArray) -> tuple[FloatArray, LongArray]:
    """Squared distance to the nearest centre and its number, both (n,)."""
    import faiss

    index = faiss.IndexFlatL2(centres.shape[1])
    index.add(centres)
    squared_distance, nearest = index.search(vectors, 1)
    return squared_distance[:, 0], nearest[:, 0]
