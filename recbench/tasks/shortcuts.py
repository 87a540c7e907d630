"""What a task says of its targets that could be found without learning: the ground for a shortcut card and for a paragraph on boards."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recbench.core.records import TargetsPart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recbench.evaluation import Group


@dataclass(frozen=True, eq=False)
class Shortcuts:
    """A slice that tells targets apart by what would find them, and the words for it.

    Attributes:
        slice: its name, such as `relation of target to last item`. Each target is in one group of it.
        ways: per group what its targets did, as the end of a clause after a share of them, such as `came right after it`. The last one is
            the group of those that no shortcut leads to.
        metric: of a group's targets, such as `recall@10`.
        beside: further shortcuts that a test part allows, or does not allow, in sentences.
    """

    slice: str
    ways: Mapping[str, str]
    metric: str
    beside: Callable[[TargetsPart], list[str]]

    def holds(self, groups: "Iterable[Group]", n_targets: int) -> "dict[str, NDArray[np.bool_]]":
        """Which targets each way leads to, (n_targets,) bool; a way that no group is named after leads to none."""
        import numpy as np

        rows = {group.name: group.rows for group in groups if group.slice == self.slice}
        return {way: rows.get(way, np.zeros(n_targets, dtype=np.bool_)) for way in self.ways}


def percent(share: float) -> str:
    """A share as sentences have it, one decimal: `0 %` and `100 %` stand for none and all alone."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    if 0.9995 <= share < 1:
        return "over 99.9 %"
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"
