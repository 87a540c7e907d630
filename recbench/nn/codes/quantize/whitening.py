"""Whitening: principal components of the vectors, each scaled to unit variance."""

import numpy as np
import torch
from torch import Tensor

from recbench.nn.codes.quantize.equal_vectors import first_equal
from recbench.nn.codes.quantize.kmeans import LongArray
from recbench.nn.codes.quantize.one_thread import one_thread
from recbench.nn.codes.quantize.quantized import FloatArray

# N vectors, B of one block, D width before, P width after

_ROWS_AT_A_TIME = 8192
_LEAST_VARIANCE = 1e-10
"""As a share of the largest component's: below it a component is what rounding left of nothing."""
_LEAST_LENGTH = 1e-12


def whitened(vectors: FloatArray, width: int, *, fit_rows: LongArray | None = None, unit_length: bool = False) -> FloatArray:
    """The leading principal components of the vectors divided by their standard deviations, (N, P) float32.

    Equal vectors stay equal, and the result does not depend on the number of threads. A component in which the fitted vectors do not
    differ is 0, and so are those beyond D: small catalogues keep the width that was asked for.

    Args:
        vectors: (N, D) float32.
        width: P.
        fit_rows: the rows that mean, directions and deviations are taken from; None: all.
        unit_length: divide each result by its length afterwards; a zero vector stays zero.

    Raises:
        ValueError: there is no row to fit on.
    """
    with one_thread():
        mean_D, projection_DP = _fitted(vectors, np.arange(len(vectors)) if fit_rows is None else fit_rows, width)
        out = np.zeros((len(vectors), width), dtype=np.float32)
        for start in range(0, len(vectors), _ROWS_AT_A_TIME):
            block_BP = (_block(vectors[start : start + _ROWS_AT_A_TIME]) - mean_D) @ projection_DP
            if unit_length:
                block_BP /= block_BP.norm(dim=1, keepdim=True).clamp(min=_LEAST_LENGTH)
            out[start : start + len(block_BP), : block_BP.shape[1]] = block_BP.numpy()
    return out[first_equal(vectors)]


def _fitted(vectors: FloatArray, rows: LongArray, width: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) of the vectors in `rows` and the matrix (D, at most P) that whitens what is left without it, float64."""
    if len(rows) == 0:
        raise ValueError("Whitening was given no vector to fit on. Give it at least one row.")
    parts = [rows[start : start + _ROWS_AT_A_TIME] for start in range(0, len(rows), _ROWS_AT_A_TIME)]
    mean_D = torch.stack([_block(vectors[part]).sum(dim=0) for part in parts]).sum(dim=0) / len(rows)
    covariance_DD = torch.zeros(len(mean_D), len(mean_D), dtype=torch.float64)
    for part in parts:
        centred_BD = _block(vectors[part]) - mean_D
        covariance_DD += centred_BD.T @ centred_BD / len(rows)
    variance_D, direction_DD = torch.linalg.eigh(covariance_DD)
    variance_P, direction_DP = variance_D.flip(0)[:width], direction_DD.flip(1)[:, :width]
    # A direction and its opposite are both right: the one whose largest entry is positive is taken.
    largest_P = direction_DP.gather(0, direction_DP.abs().argmax(dim=0, keepdim=True))
    scale_P = torch.where(variance_P > _LEAST_VARIANCE * variance_P[0], variance_P.clamp(min=0).rsqrt(), 0.0)
    return mean_D, direction_DP * largest_P.sign() * scale_P


def _block(rows: FloatArray) -> Tensor:
    return torch.from_numpy(np.asarray(rows, dtype=np.float64))
