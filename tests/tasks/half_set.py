"""A task of the tests: sets of items without order or user; half of a set is shown, and the other half is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from recbench.core.interactions import Interactions
from recbench.core.ragged import Histories, Targets
from recbench.data import Dataset, Parts, Split, SplitPart, SplitRule
from recbench.evaluation import Group, Measures, TargetFacts, groups_by_size, target_facts
from recbench.tasks import Task, Words


def _part(sets: Interactions, rows: np.ndarray) -> SplitPart:
    """The first half of each set as what is known, the rest as what is asked for."""
    halves = [(sets[row][: len(sets[row]) // 2], sorted(sets[row][len(sets[row]) // 2 :])) for row in rows.tolist()]
    return SplitPart(
        user=rows.astype(np.int32),
        histories=Histories.from_lists([known for known, _ in halves]),
        targets=Targets.from_lists([asked for _, asked in halves]),
        timestamp=None,
        is_tied=None,
    )


def _cut(dataset: Dataset, options: Mapping[str, Any]) -> Parts:
    """Of `every` sets one is tested and one validated; models learn from the others, whole."""
    sets = dataset.interactions
    place = np.arange(len(sets)) % int(options["every"])
    lengths = np.where(place < 2, 0, sets.lengths)
    kept = np.repeat(place >= 2, sets.lengths)
    offsets = np.append(0, np.cumsum(lengths))
    train = Interactions(sets.item[kept], offsets, sets.timestamp[kept], sets.n_items, sets.time)
    return Parts(train, _part(sets, np.flatnonzero(place == 1)), _part(sets, np.flatnonzero(place == 0)), {})


def _facts(split: Split) -> TargetFacts:
    part = split.test
    facts = target_facts(split.train, part.histories, part.targets, part.user, None)
    sizes = np.repeat(part.targets.lengths, part.targets.lengths).astype(np.int32)
    return replace(facts, follows_last=None, of_task={"asked": sizes})


def _groups(facts: TargetFacts) -> Iterator[Group]:
    yield from groups_by_size("size of the other half", facts.of_task["asked"], (("small", 3), ("large", None)))


TASK = Task(
    name="half-set",
    title="The other half of a set",
    rules=(SplitRule("halves", _cut, "At least three sets are needed.", defaults={"every": 4.0}),),
    views=("unseen",),
    list_length=12,
    measures=Measures(kinds=("recall", "first_hit"), cutoffs=(3, 12), of_slices=("first_hit@3",), groups=_groups),
    main_metric="first_hit@3",
    validation_metrics=("first_hit@3",),
    validation_view="unseen",
    board_metrics=("recall@3", "recall@12", "first_hit@3"),
    interval_metrics=("first_hit@3",),
    paper_metrics=("recall@12", "first_hit@3"),
    facts=_facts,
    words=Words(
        unit="set",
        units="sets",
        views={"unseen": "Items that are shown are not asked for."},
        groups="Small halves hold at most three items.",
        split="of four sets one is tested.",
        seen="there is one view.",
        targets=lambda targets: f"{targets.n_users:,} sets to complete.",
    ),
)
