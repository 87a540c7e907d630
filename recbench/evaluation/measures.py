"""The figures that a task asks for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recbench.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from recbench.core.ragged import LongArray
    from recbench.evaluation.facts import TargetFacts
    from recbench.evaluation.rank_table import RankTable
    from recbench.evaluation.slices import Group


@dataclass(frozen=True)
class Measures:
    """The figures that a task asks for.

    Attributes:
        kinds: metrics, such as `ndcg`, in the order of a record.
        cutoffs: numbers of places that each looks at.
        of_slices: metrics, such as `ndcg@10`, of groups of targets.
        groups: the groups, each with a target at least.
        cluster: fact of the task (`TargetFacts.of_task`) that is equal for users who are not independent of each other; they are resampled
            together where a split knows it. None: all users are independent.
    """

    kinds: tuple[str, ...]
    cutoffs: tuple[int, ...]
    of_slices: tuple[str, ...]
    groups: "Callable[[TargetFacts], Iterable[Group]]"
    cluster: str | None = None

    def cluster_of_users(self, facts: "TargetFacts", ranks: "RankTable") -> "LongArray | None":
        """A number per user of the table, (n_users,), equal for users who are resampled together; None where all are independent."""
        fact = None if self.cluster is None else facts.of_task.get(self.cluster)
        return None if fact is None else fact[ranks.offsets[:-1]]

    def names(self, list_length: int, *, has_sets: bool) -> tuple[str, ...]:
        """The metrics that lists of this length allow; those of sets only where some user has several targets."""
        kinds = [kind for kind in self.kinds if has_sets or not METRICS.parse(f"{kind}@1")[0].needs_sets]
        return tuple(f"{kind}@{k}" for kind in kinds for k in self.cutoffs if k <= list_length)
