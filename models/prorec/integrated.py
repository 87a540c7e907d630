"""One vector per item out of behaviour and text."""

import numpy as np
from numpy.typing import NDArray

from recbench_models.prorec.config import FusionSettings

# N items, D width of either half

FloatArray = NDArray[np.float32]


def integrated(
    fusion: FusionSettings, text: FloatArray, collab: FloatArray | None, adapted: FloatArray | None, is_trained: NDArray[np.bool_]
) -> FloatArray:
    """Vectors to quantise, (N, width), as `fusion.kind` says.

    Args:
        fusion: what is done.
        text: (N, S) the plain text vectors.
        collab: (N, D) collaborative vectors; plain ones for `naive-concat` and `collab-only`.
        adapted: (N, D) adapted text vectors; needed by `concat` and `mean`, and to fill in.
        is_trained: (N,) whether an item has an event in the train part.
    """
    if fusion.kind == "semantic":
        return text
    assert collab is not None
    if fusion.kind == "collab-only":
        return collab
    if fusion.kind == "naive-concat":
        return np.concatenate([collab, text], 1)
    assert adapted is not None
    if fusion.fill_untrained:
        collab = np.where(is_trained[:, None], collab, adapted)
    if fusion.kind == "collab":
        return normed(collab, fusion.block_norm)
    halves = [normed(half, fusion.block_norm) for half in (collab, adapted)]
    return np.concatenate(halves, 1) if fusion.kind == "concat" else (halves[0] + halves[1]) / np.float32(2)


def normed(vectors: FloatArray, kind: str) -> FloatArray:
    """Each vector at length 1, after the mean over items is taken off or not; or as it is."""
    if kind == "none":
        return vectors
    if kind == "center-l2":
        vectors = vectors - vectors.mean(0, dtype=np.float64).astype(np.float32)
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit
