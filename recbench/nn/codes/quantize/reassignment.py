"""Unique codes without another level: items of one code move to free codes of the last level (arXiv:2605.25330)."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from recbench.nn.codes.catalogue import ItemCodes, make_unique
from recbench.nn.codes.quantize.kmeans import LongArray
from recbench.nn.codes.quantize.quantized import FloatArray, IntArray

# N items, L levels, K entries of the last level, Z width, G items of one group

_TIE_SHARE = 1e-6
"""Weight of the order of items and codes, as a share of the largest distance: it decides between distances that are equal in float32."""


def reassign_last_level(codes: IntArray, level_sizes: tuple[int, ...], residual: FloatArray, codebook: FloatArray) -> ItemCodes:
    """Codes of L levels that differ for all items: as few items as possible leave their code, and these go as little away as possible.

    Items that share the first L-1 levels are a group. Where two of them share the last level too, a matching of the group's items with
    the K codes decides. A group of more than K items has no such matching: it keeps its codes, and all codes get one more level that
    numbers items of equal codes, as `make_unique` appends it.

    Args:
        codes: (N, L) int32.
        level_sizes: of the L levels; the last one is K.
        residual: (N, Z) float32, what the first L-1 levels left over of each item.
        codebook: (K, Z) float32, entries of the last level.
    """
    _, group = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    found = codes.copy()
    is_solved = True
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        present = codes[members, -1]
        if len(np.unique(present)) == len(members):
            continue
        if len(members) > len(codebook):
            is_solved = False
            continue
        found[members, -1] = _matched(present, residual[members], codebook)
    return ItemCodes(found, level_sizes) if is_solved else make_unique(found, level_sizes)


def _matched(present_G: IntArray, residual_GZ: FloatArray, codebook_KZ: FloatArray) -> LongArray:
    """A code of its own for each item of a group, (G,)."""
    n, size = len(present_G), len(codebook_KZ)
    distance_GK = np.stack([np.square(codebook_KZ.astype(np.float64) - residual).sum(axis=1) for residual in residual_GZ])
    largest = float(distance_GK.max()) or 1.0
    # One more move costs more than all distances of a matching together.
    is_move_GK = np.arange(size) != present_G[:, None]
    cost_GK: NDArray[np.float64] = distance_GK + 2.0 * size * largest * is_move_GK
    # Among equal costs the smaller codes are taken, and the smaller of them by the earlier items.
    cost_GK += _TIE_SHARE * largest / (n * size) * np.arange(n, 0, -1)[:, None] * np.arange(1, size + 1)
    return np.asarray(linear_sum_assignment(cost_GK)[1])
