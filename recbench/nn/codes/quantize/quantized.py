"""Result of every quantizer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quantized:
    """Vectors as sums of one codebook entry per level.

    Attributes:
        codes: (n, L) int32; equal vectors have equal codes.
        codebooks: L arrays (size of the level, width) float32, in the space that was quantised.
        reconstruction: (n, d) float32, what the codes say about the vectors.
        unexplained: per level the squared error of the reconstruction from the levels up to it, as a share of the vectors'
            squared distance from their mean; 0 where all vectors are equal.
    """

    codes: IntArray
    codebooks: tuple[FloatArray, ...]
    reconstruction: FloatArray
    unexplained: tuple[float, ...]

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(len(codebook) for codebook in self.codebooks)


def unexplained_share(vectors: FloatArray, reconstruction: FloatArray) -> float:
    """Squared error over squared distance from the mean, both in float64; 0 where the vectors do not differ."""
    spread = float(np.square(vectors - vectors.mean(axis=0, dtype=np.float64)).sum())
    error = float(np.square(vectors.astype(np.float64) - reconstruction).sum())
    return error / spread if spread > 0 else 0.0
