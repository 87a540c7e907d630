"""Accuracy by groups of targets: popular or rare, long or short history, tied or not, known or new."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import IntArray
from recbench.evaluation.target_facts import TargetFacts

_POPULARITY = (("cold", 0), ("tail", 5), ("mid", 20), ("head", None))
"""Groups of target popularity with their greatest train count."""
_HISTORY_LENGTH = (("none", 0), ("1-5", 5), ("6-10", 10), ("11-20", 20), ("21-50", 50), ("above 50", None))
"""Groups of history length with their greatest length."""


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


def groups(facts: TargetFacts) -> Iterator[Group]:
    """All groups that have a target, slice by slice."""
    found = [
        *_by_bucket("target popularity", facts.target_count, _POPULARITY),
        *_by_bucket("history length", facts.history_length, _HISTORY_LENGTH),
        *_by_fact("target in history", facts.in_history, "in history", "new"),
        *_by_fact("step from last item to target", facts.follows_last, "seen in train", "not seen"),
    ]
    if facts.is_tied is not None:
        found += _by_fact("time of target and event before", facts.is_tied, "tied", "untied")
    yield from (group for group in found if group.rows.any())


def _by_bucket(slice_name: str, value: IntArray, buckets: tuple[tuple[str, int | None], ...]) -> list[Group]:
    upper = np.array([bound for _, bound in buckets if bound is not None])
    bucket = np.searchsorted(upper, value)
    return [Group(slice_name, name, bucket == number) for number, (name, _) in enumerate(buckets)]


def _by_fact(slice_name: str, fact: NDArray[np.bool_], yes: str, no: str) -> list[Group]:
    return [Group(slice_name, yes, fact), Group(slice_name, no, ~fact)]
