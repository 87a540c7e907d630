"""Result of every quantizer."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]

_ROWS_AT_A_TIME = 8192
"""Rows that are taken to float64 at a time: all of a large catalogue would be twice its vectors."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """Vectors as sums of one codebook entry per level.

    Attributes:
        codes: (n, L) int32; equal vectors have equal codes.
        codebooks: L arrays (size of the level, width) float32, in the space that was quantised.
        reconstruction: (n, d) float32, what the codes say about the vectors.
        unexplained: per level the squared error of the reconstruction from the levels up to it, as a share of the vectors'
            squared distance from their mean; 0 where all vectors are equal.
        latent: (n, width) float32, the vectors in the space of the codebooks, where an encoder made that; else None.
    """

    codes: IntArray
    codebooks: tuple[FloatArray, ...]
    reconstruction: FloatArray
    unexplained: tuple[float, ...]
    latent: FloatArray | None = None

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(len(codebook) for codebook in self.codebooks)


def unexplained_share(vectors: FloatArray, reconstruction: FloatArray) -> float:
    """Squared error over squared distance from the mean, both in float64; 0 where the vectors do not differ."""
    blocks = (slice(start, start + _ROWS_AT_A_TIME) for start in range(0, len(vectors), _ROWS_AT_A_TIME))
    error = sum(float(np.square(vectors[rows].astype(np.float64) - reconstruction[rows]).sum()) for rows in blocks)
    return shares_of_spread([error], vectors)[0]


def shares_of_spread(errors: Iterable[float], vectors: FloatArray) -> tuple[float, ...]:
    """Squared errors over the vectors' squared distance from their mean, in float64; 0 where the vectors do not differ."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    starts = range(0, len(vectors), _ROWS_AT_A_TIME)
    spread = sum(float(np.square(vectors[start : start + _ROWS_AT_A_TIME] - mean).sum()) for start in starts)
    return tuple(float(error) / spread if spread > 0 else 0.0 for error in errors)
