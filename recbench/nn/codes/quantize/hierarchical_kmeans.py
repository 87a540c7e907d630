"""Hierarchical k-means: every cluster is clustered again, so that a prefix of a code names a cluster (GRAM, arXiv:2506.01673)."""

import numpy as np

from recbench.core.seeds import derived_seed
from recbench.nn.codes.quantize.kmeans import LongArray, kmeans
from recbench.nn.codes.quantize.quantized import FloatArray, IntArray


def hierarchical_kmeans(
    vectors: FloatArray,
    *,
    n_children: int,
    n_levels: int,
    seed: int,
    iterations: int = 50,
    restarts: int = 5,
) -> IntArray:
    """The path of each vector through a tree of clusters, (n, n_levels) int32: a child number per level.

    The first level is always clustered. Below it, a node of at most `n_children` vectors gives each a child of its own, in their
    order; a larger one is clustered into that many children. Clusters are not balanced. Different vectors may share a path, equal
    ones do unless a small node numbers them. A vector alone in its node goes on as child 0 down to the last level, as published.

    Args:
        vectors: (n, d) float32.
        n_children: of a node, at most.
        n_levels: depth of the tree.
        seed: of k-means.
        iterations: of k-means.
        restarts: of k-means; the best start counts.
    """
    paths = np.zeros((len(vectors), n_levels), dtype=np.int32)
    waiting: list[tuple[LongArray, int]] = [(np.arange(len(vectors)), 0)]
    while waiting:
        members, depth = waiting.pop()
        if depth == n_levels or len(members) == 0 or (depth > 0 and len(members) == 1):
            continue
        if depth > 0 and len(members) <= n_children:
            child = np.arange(len(members))
        else:
            # The seed is the node's own, so that one node's clusters do not depend on the nodes looked at before.
            node_seed = derived_seed(seed, "hierarchical k-means", *paths[members[0], :depth].tolist())
            _, child = kmeans(vectors[members], n_children, seed=node_seed, iterations=iterations, restarts=restarts)
        paths[members, depth] = child
        order = np.argsort(child, kind="stable")
        ends = np.flatnonzero(np.diff(child[order], append=-1)) + 1
        waiting += [(members[part], depth + 1) for part in np.split(order, ends[:-1])]
    return paths
