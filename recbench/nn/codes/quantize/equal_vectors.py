"""Which vectors are equal, so that they get equal codes although the last digit of a matrix product depends on the row's place."""

import hashlib

import numpy as np

from recbench.nn.codes.quantize.kmeans import LongArray
from recbench.nn.codes.quantize.quantized import FloatArray

_ROWS_AT_A_TIME = 8192


def first_equal(vectors: FloatArray) -> LongArray:
    """The row of the first vector that equals each vector (n, d), (n,) int64; 0 and -0 are equal."""
    first = np.empty(len(vectors), dtype=np.int64)
    row_of: dict[bytes, int] = {}
    for start in range(0, len(vectors), _ROWS_AT_A_TIME):
        for row, vector in enumerate(vectors[start : start + _ROWS_AT_A_TIME] + 0.0, start):
            # Digests, because the vectors themselves would be a second copy of all of them.
            first[row] = row_of.setdefault(hashlib.blake2b(vector.tobytes(), digest_size=16).digest(), row)
    return first
