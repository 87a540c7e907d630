"""Residual k-means: each level clusters what the levels before left over."""

from collections.abc import Callable

import numpy as np

from recbench.core.seeds import derived_seed
from recbench.nn.codes.quantize.kmeans import kmeans
from recbench.nn.codes.quantize.quantized import FloatArray, Quantized, unexplained_share


def residual_kmeans(
    vectors: FloatArray,
    *,
    n_levels: int,
    size: int,
    seed: int,
    iterations: int = 50,
    restarts: int = 5,
    after_level: Callable[[], None] = lambda: None,
) -> Quantized:
    """The vectors quantised level by level; the same seed gives the same codes, whatever the number of threads.

    A level has fewer than `size` codes only where fewer distinct leftovers are there; each of its codes is in use.

    Args:
        vectors: (n, d) float32.
        n_levels: L.
        size: codes per level.
        seed: of the starts.
        iterations: of k-means.
        restarts: of k-means, each from another start; the best one counts.
        after_level: is called when a level is done.
    """
    residual = np.array(vectors, dtype=np.float32)
    codes, codebooks, unexplained = [], [], []
    for level in range(n_levels):
        level_seed = derived_seed(seed, "residual k-means", level)
        centres, nearest = kmeans(residual, size, seed=level_seed, iterations=iterations, restarts=restarts)
        residual -= centres[nearest]
        codes.append(nearest.astype(np.int32))
        codebooks.append(centres)
        unexplained.append(unexplained_share(vectors, vectors - residual))
        after_level()
    return Quantized(np.stack(codes, axis=1), tuple(codebooks), vectors - residual, tuple(unexplained))
