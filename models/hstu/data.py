"""Times of histories as matrices, and the time between two events as the number of a bucket."""

import numpy as np
from torch import Tensor

from recbench.core import UNKNOWN_TIME
from recbench.core.ragged import LongArray

# B histories, T columns; row i of a (T, T) matrix is the slot that reads, column j the slot that is read

N_BUCKETS = 129
_LOG_STEP = 0.301
"""Width of a bucket, as a difference of natural logarithms of seconds: each bucket holds times about a third longer than the one before."""


def padded_times(seconds: LongArray, start_B: LongArray, length_B: LongArray) -> LongArray:
    """The times of stretches of a flat array, (B, T) int64, `UNKNOWN_TIME` after the end of each.

    Args:
        seconds: (nnz,) int64 seconds since 1970, `UNKNOWN_TIME` where one is missing.
        start_B: (B,) where each stretch begins.
        length_B: (B,) how long it is; T is the largest.
    """
    column_T = np.arange(int(length_B.max(initial=0)))
    is_read_BT = column_T < length_B[:, None]
    place_BT = np.where(is_read_BT, start_B[:, None] + column_T, 0)
    return np.where(is_read_BT, seconds[place_BT], UNKNOWN_TIME)


def time_buckets(time_BT: Tensor) -> Tensor:
    """The bucket of the time between each two events, (B, T, T) int64 from 0 to 128.

    It is floor(ln(max(|t_i - t_j|, 1)) / 0.301), as in the code of arXiv:2402.17152; a difference to an unknown time counts as none.
    """
    is_known_BT = time_BT != UNKNOWN_TIME
    known_BT = time_BT.where(is_known_BT, 0)
    gap_BTT = (known_BT[:, :, None] - known_BT[:, None, :]).abs()
    gap_BTT = gap_BTT.where(is_known_BT[:, :, None] & is_known_BT[:, None, :], 0)
    return (gap_BTT.clamp(min=1).float().log() / _LOG_STEP).long().clamp(max=N_BUCKETS - 1)
