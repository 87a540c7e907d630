"""Scaling of each dimension of the vectors before they are quantised."""

import numpy as np

from recbench.nn.codes.quantize.quantized import FloatArray
from recbench.nn.codes.quantize.settings import Scaling


def scaled(vectors: FloatArray, scaling: Scaling) -> FloatArray:
    """The vectors as they are, less their mean, or also divided by the standard deviation of each dimension, (n, d) float32.

    A dimension in which all vectors agree becomes 0, not noise divided by noise.
    """
    if scaling == "raw":
        return np.ascontiguousarray(vectors, dtype=np.float32)
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    is_constant = np.ptp(vectors, axis=0) == 0
    centred[:, is_constant] = 0.0
    if scaling == "standardised":
        deviation = centred.std(axis=0)
        deviation[is_constant] = 1.0
        centred /= deviation
    return np.ascontiguousarray(centred, dtype=np.float32)
