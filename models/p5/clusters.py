"""IDs by collaborative indexing: items that users have together share the first tokens (arXiv:2305.06569, section 4)."""

# I items of a node, K clusters

from collections import deque
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, qr, svd
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from threadpoolctl import threadpool_limits

from recbench.core import Interactions, StageFailed
from recbench.core.ragged import LongArray
from recbench.nn.codes import ItemCodes, codes_from_lists
from recbench.nn.ranking import binary_matrix
from recbench_models.p5.config import ClusterSettings

_DENSE = 600
"""Nodes of so many items are small enough for all eigenvectors at once."""
_DRAWS = "rng" in signature(eigsh).parameters
"""Whether scipy starts again, where a search for eigenvectors has come to an end of a part, from what the system draws unless it is given a
generator; versions before 1.17 start from a seed of their own."""


def co_occurrences(train: Interactions) -> csr_array:
    """How many users have both of two items, (n_items, n_items) float64, zeros on the diagonal."""
    matrix = binary_matrix(train)
    together = csr_array(matrix.T @ matrix)
    together.setdiag(0)
    together.eliminate_zeros()
    return together


def cluster_ids(train: Interactions, settings: ClusterSettings, random: np.random.Generator) -> ItemCodes:
    """The way to each item through a tree of clusters, then its place in the last of them; all levels share one table of tokens.

    Clusters are numbered breadth-first over the whole tree, modulo the size of the table. An item without events is in no cluster: its
    ID is a single token, counted over such items in random order, and may be the beginning of others. The number of threads changes
    nothing.
    """
    affinity = co_occurrences(train)
    counts = train.item_counts()
    lists: list[list[int]] = [[] for _ in range(train.n_items)]
    for number, item in enumerate(random.permutation(np.flatnonzero(counts == 0)).tolist()):
        lists[item] = [number]
    n_clusters = 0
    waiting: deque[tuple[LongArray, list[int]]] = deque([(np.flatnonzero(counts), [])])
    while waiting:
        members, path = waiting.popleft()
        if path and len(members) <= settings.token_size:
            for place, item in enumerate(members.tolist()):
                lists[item] = [*path, place]
            continue
        # Where parts of the graph are alike, the last digits of eigenvectors decide between them.
        with threadpool_limits(limits=1, user_api="blas"):
            parts = divided(affinity, members, settings, random)
        for part in parts:
            waiting.append((part, [*path, n_clusters % settings.token_size]))
            n_clusters += 1
    return codes_from_lists(lists, least_size=settings.token_size)


def divided(affinity: csr_array, members: LongArray, settings: ClusterSettings, random: np.random.Generator) -> list[LongArray]:
    """The clusters of the items of one node, none empty: those that nobody has with another one of the node stand apart in one.

    Where that leaves all items together and they are too many for one cluster, they are cut into parts of equal size.
    """
    if len(members) == 0:
        return []
    inner = affinity[members][:, members]
    is_alone = inner.sum(axis=1) == 0
    joined = np.flatnonzero(~is_alone)
    labels = np.full(len(members), settings.n_clusters)
    if len(joined) > settings.n_clusters:
        labels[joined] = spectral_labels(csr_array(inner[joined][:, joined]), settings.n_clusters, random)
    else:
        labels[joined] = 0
    parts = [members[labels == label] for label in np.unique(labels)]
    if len(parts) > 1 or len(members) <= settings.token_size:
        return parts
    return np.array_split(members, min(settings.token_size, -(-len(members) // settings.token_size)))


def spectral_labels(affinity: csr_array, n_clusters: int, random: np.random.Generator) -> LongArray:
    """The cluster of each item, (I,), by the leading eigenvectors of the normalised affinities.

    Eigenvectors become labels by a pivoted QR decomposition (doi:10.1093/imaiai/iay008), which has no starts to choose from.

    Args:
        affinity: (I, I), symmetric, a positive sum in each row.
        n_clusters: K < I.
        random: draws where the search for eigenvectors starts, and starts again.

    Raises:
        StageFailed: the eigenvectors were not found.
    """
    scale = 1.0 / np.sqrt(affinity.sum(axis=1))
    normalised = diags_array(scale) @ affinity @ diags_array(scale)
    if len(scale) <= _DENSE:
        return qr_labels(eigh(normalised.toarray(), subset_by_index=(len(scale) - n_clusters, len(scale) - 1))[1])
    try:
        # To the last digit: parts that share nothing have equal eigenvalues, of which a coarse search finds one.
        more: dict[str, Any] = {"rng": random} if _DRAWS else {}
        _, vectors = eigsh(normalised, k=n_clusters, which="LA", v0=random.random(len(scale)), tol=0, maxiter=100 * len(scale), **more)
    except ArpackNoConvergence as error:
        raise StageFailed(
            f"Of the {n_clusters} leading eigenvectors of {len(scale)} items {len(error.eigenvalues)} were found. Ask for fewer clusters "
            "with --set indexing.cid.n_clusters=N, or take another indexing.method."
        ) from None
    return qr_labels(vectors)


def qr_labels(vector_IK: NDArray[np.float64]) -> LongArray:
    """The column that each row belongs to, (I,), after the rotation that brings K rows of different clusters nearest to the axes."""
    _, _, pivots = qr(vector_IK.T, mode="economic", pivoting=True)
    left, _, right = svd(vector_IK[pivots[: vector_IK.shape[1]]].T, full_matrices=False)
    labels: LongArray = np.abs(vector_IK @ (left @ right)).argmax(axis=1)
    return labels
