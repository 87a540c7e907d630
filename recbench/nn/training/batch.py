"""A global batch as the training loop is handed it, and its parts for several processes."""

from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Sharded(Protocol):
    """A batch that is not a plain array of example numbers."""

    def __len__(self) -> int:
        """Number of rows."""

    def shard(self, rank: int, size: int) -> Self:
        """Rows `rank`, `rank + size`, `rank + 2 * size`, ...; there may be none."""


Batch: TypeAlias = NDArray[Any] | Sharded
"""A description of a global batch, cheap to make and to cut: example numbers along the first axis, or an object with `shard`."""


def shard(batch: Batch, rank: int, size: int) -> Batch:
    """Every `size`-th row of a batch, from row `rank` on: the parts of one batch are disjoint and together the whole."""
    return batch[rank::size] if isinstance(batch, np.ndarray) else batch.shard(rank, size)
