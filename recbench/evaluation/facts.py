"""Facts about every target that are known before anybody ranks it: the ground for slices and for popularity lift."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.interactions import Interactions
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.core.records import TargetsPart
from recbench.evaluation.rank_table import entries_in, targets_in_history, user_offsets


@dataclass(frozen=True, eq=False)
class TargetFacts:
    """One row per (user, target), in the order of the rank table.

    Attributes:
        user, target: (R,) int32.
        target_count: (R,) int32, how often the target occurs in the train part.
        history_length: (R,) int32.
        is_tied: (R,) bool, whether the target shares its time stamp with the event before it; None where times are unknown.
        in_history: (R,) bool.
        follows_last: (R,) bool, whether the target comes right after the last item of the history somewhere in the train part; None for
            a task without order.
        history_popularity: (R,) float64, mean train count of the items of the history, 0 for an empty one.
        of_task: (R,) bool, int32 or float64 each: facts that only one task knows, by name.
    """

    user: IntArray
    target: IntArray
    target_count: IntArray
    history_length: IntArray
    is_tied: NDArray[np.bool_] | None
    in_history: NDArray[np.bool_]
    follows_last: NDArray[np.bool_] | None
    history_popularity: NDArray[np.float64]
    of_task: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)


def target_facts(
    train: Interactions, histories: Histories, targets: Targets, user: IntArray, is_tied: NDArray[np.bool_] | None
) -> TargetFacts:
    """The facts about the targets of B queries.

    Args:
        train: the train part.
        histories: (B,) what each query knows.
        targets: (B,) what each query is asked for.
        user: (B,) user rows.
        is_tied: (B,) whether the target shares its time stamp with the last event of the history; None where times are unknown.
    """
    sizes = targets.lengths
    train_count = train.item_counts()
    return TargetFacts(
        user=np.repeat(user, sizes).astype(np.int32),
        target=targets.item,
        target_count=train_count[targets.item].astype(np.int32),
        history_length=np.repeat(histories.lengths, sizes).astype(np.int32),
        is_tied=None if is_tied is None else np.repeat(is_tied, sizes),
        in_history=targets_in_history(targets, histories, train.n_items),
        follows_last=_follows_last(train, histories, targets),
        history_popularity=np.repeat(_mean_count(train_count, histories), sizes),
    )


def steps_of(train: Interactions) -> LongArray:
    """Every two items that follow each other in a list, (n_steps,): the first times the number of items, and the second."""
    item = train.item.astype(np.int64)
    is_step = np.ones(max(len(item) - 1, 0), dtype=np.bool_)
    inner = train.offsets[(train.offsets > 0) & (train.offsets < len(item))]
    is_step[inner - 1] = False
    steps: LongArray = (item[:-1] * train.n_items + item[1:])[is_step]
    return steps


def _follows_last(train: Interactions, histories: Histories, targets: Targets) -> NDArray[np.bool_]:
    """Whether the train part holds the step from the last item of the history to the target, (n_targets,) bool."""
    # Sorted and not np.unique: repeats do no harm, and sorting millions of integers is many times quicker.
    steps = np.sort(steps_of(train))
    last_n = histories.last_items()[targets.row_of_entry()]
    return (last_n >= 0) & entries_in(last_n * train.n_items + targets.item, steps)


def _mean_count(train_count: LongArray, histories: Histories) -> NDArray[np.float64]:
    """Mean train count of each history's items, (B,) float64."""
    total = np.zeros(len(histories.item) + 1, dtype=np.int64)
    np.cumsum(train_count[histories.item], out=total[1:])
    sums = total[histories.offsets[1:]] - total[histories.offsets[:-1]]
    mean: NDArray[np.float64] = sums / np.maximum(histories.lengths, 1)
    return mean


def targets_part(facts: TargetFacts, n_users_train_only: int) -> TargetsPart:
    """Sizes and shares of the targets of a split, as the record keeps them."""
    n = max(len(facts), 1)
    return TargetsPart(
        n_users=len(user_offsets(facts.user)) - 1,
        n_targets=len(facts),
        n_users_train_only=n_users_train_only,
        share_in_history=int(facts.in_history.sum()) / n,
        share_tied=None if facts.is_tied is None else int(facts.is_tied.sum()) / n,
        n_cold=int((facts.target_count == 0).sum()),
    )
