"""Groups of targets whose accuracy is told apart; a task names the groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import IntArray


@dataclass(frozen=True, eq=False)
class Group:
    """Some of the targets.

    Attributes:
        slice: what the split into groups is by, such as `target popularity`.
        name: of the group, such as `tail`.
        rows: (R,) bool, which targets belong to it.
    """

    slice: str
    name: str
    rows: NDArray[np.bool_]


def groups_by_size(slice_name: str, value: IntArray, buckets: Sequence[tuple[str, int | None]]) -> list[Group]:
    """One group per bucket, a name and the greatest value that belongs to it, None for the last.

    Args:
        slice_name: what the groups are by.
        value: (R,) one per target.
        buckets: in rising order.
    """
    upper = np.array([bound for _, bound in buckets if bound is not None])
    bucket = np.searchsorted(upper, value)
    return [Group(slice_name, name, bucket == number) for number, (name, _) in enumerate(buckets)]


def groups_by_kind(slice_name: str, kind: IntArray, names: Sequence[str]) -> list[Group]:
    """One group per kind; `kind` (R,) holds the place in `names` of each target's."""
    return [Group(slice_name, name, kind == number) for number, name in enumerate(names)]


def groups_by_fact(slice_name: str, fact: NDArray[np.bool_], yes: str, no: str) -> list[Group]:
    """Two groups: targets for which a fact (R,) holds, named `yes`, and the others."""
    return [Group(slice_name, yes, fact), Group(slice_name, no, ~fact)]
