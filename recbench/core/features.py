"""Vectors of items that a data set brings along."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Features:
    """One vector per item of the catalogue, such as those of its image.

    Attributes:
        matrix: (n_items, m) float32; zeros for an item that has none.
        is_present: (n_items,) bool, which items have one.
    """

    matrix: NDArray[np.float32]
    is_present: NDArray[np.bool_]
