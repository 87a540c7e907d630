"""Next-item prediction: a user's events in order are known, and the next item is asked for."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from recbench.core.records import TargetsPart
from recbench.data.rules import COLD, LEAVE_ONE_OUT, ROLLING, TEMPORAL
from recbench.evaluation.measures import Measures
from recbench.tasks.shortcuts import Shortcuts, percent
from recbench.tasks.task import Task, Words

if TYPE_CHECKING:
    from recbench.data import Split
    from recbench.evaluation import Group, TargetFacts

_POPULARITY = (("cold", 0), ("tail", 5), ("mid", 20), ("head", None))
"""Groups of target popularity with their greatest train count."""
_HISTORY_LENGTH = (("none", 0), ("1-5", 5), ("6-10", 10), ("11-20", 20), ("21-50", 50), ("above 50", None))
"""Groups of history length with their greatest length."""


_RELATION = "relation"
_BY_RELATION = "relation of target to last item"
_WAYS = {
    "seen pair": "came right after it somewhere in the train part",
    "seen pair, reversed": "came right before it",
    "two steps": "came two such steps after it",
    "shared neighbour": "had a neighbour in common with it",
    "near text": "had one of the texts most like its own",
    "none of these": "had none of these relations to it",
}
"""What the targets of each of `RELATIONS` did; `it` is the last item of the history."""
_TEXT = ("title", "brand", "categories")
"""Columns of text that are compared; others, such as a crawled list of what was bought too, would tell more than what an item is."""


def _facts(split: "Split") -> "TargetFacts":
    from recbench.evaluation import target_facts, target_relations

    part = split.test
    facts = target_facts(split.train, part.histories, part.targets, part.user, part.is_tied)
    texts = split.items.text(_TEXT) if split.items.has_text else None
    return replace(facts, of_task={_RELATION: target_relations(split.train, part.histories, part.targets, texts)})


def _groups(facts: "TargetFacts") -> "Iterator[Group]":
    """Popular or rare targets, long or short histories, known or new, tied or not; those that have a target, slice by slice."""
    from recbench.evaluation import RELATIONS, groups_by_fact, groups_by_kind, groups_by_size

    found = [
        *groups_by_size("target popularity", facts.target_count, _POPULARITY),
        *groups_by_size("history length", facts.history_length, _HISTORY_LENGTH),
        *groups_by_fact("target in history", facts.in_history, "in history", "new"),
    ]
    if facts.follows_last is not None:
        found += groups_by_fact("step from last item to target", facts.follows_last, "seen in train", "not seen")
    if _RELATION in facts.of_task:  # facts of records before there were relations have none
        found += groups_by_kind(_BY_RELATION, facts.of_task[_RELATION], RELATIONS)
    if facts.is_tied is not None:
        found += groups_by_fact("time of target and event before", facts.is_tied, "tied", "untied")
    yield from (group for group in found if group.rows.any())


def _targets_line(targets: TargetsPart) -> str:
    tied = "" if targets.share_tied is None else f"; {100 * targets.share_tied:.1f} % share their time stamp with the event before"
    return (
        f"{targets.n_users:,} test users with {targets.n_targets:,} targets, full catalogue. "
        f"{100 * targets.share_in_history:.2f} % of the targets stand in the user's history already; "
        f"{targets.n_cold:,} targets never occur in the train part{tied}."
    )


def _beside(targets: TargetsPart) -> list[str]:
    """Repeats, ties and items that no train event tells of: what each allows, or rules out."""
    said = ["No target stands in the history, so that showing it again finds none."]
    if targets.share_in_history > 0:
        repeated = percent(targets.share_in_history)
        said = [f"Of the targets {repeated} stand in the history: found by showing it again in the view keep, by nothing in unseen."]
    if targets.share_tied:
        said.append(f"Of the targets {percent(targets.share_tied)} share their time with the event before: no time says which came last.")
    if targets.n_cold:
        cold = percent(targets.n_cold / targets.n_targets)
        said.append(f"Of the targets {cold} have no event in the train part: only facts about the item find them.")
    return said


TASK = Task(
    name="next-item",
    title="Next-item prediction",
    rules=(LEAVE_ONE_OUT, TEMPORAL, ROLLING, COLD),
    views=("keep", "unseen"),
    list_length=50,
    measures=Measures(
        kinds=("recall", "hit_rate", "ndcg", "mrr"),
        cutoffs=(5, 10, 20, 50),
        of_slices=("recall@10", "ndcg@10"),
        groups=_groups,
    ),
    main_metric="ndcg@10",
    validation_metrics=("ndcg@10", "recall@10"),
    validation_view="keep",
    board_metrics=("recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20"),
    interval_metrics=("recall@10", "ndcg@10"),
    paper_metrics=("recall@5", "recall@10", "ndcg@5", "ndcg@10"),
    facts=_facts,
    shortcuts=Shortcuts(slice=_BY_RELATION, ways=_WAYS, metric="recall@10", beside=_beside),
    words=Words(
        unit="user",
        units="users",
        views={
            "keep": "Items of the history may be recommended again.",
            "unseen": "Items of the history are excluded; a target that stands in the history is a miss.",
        },
        groups=(
            "Target popularity is the target's number of training events: cold 0, tail 1–5, mid 6–20, head above 20. "
            "A user with several targets counts in each group with the targets that belong to it. "
            "The relation of a target to the last item of the history is the first that holds, by the train part and the texts: the "
            "pair was seen, or reversed; two steps lead there; both have a neighbour in common; its text is among the 20 most alike; none."
        ),
        split="leave-one-out keeps each user's last event for the test and the last but one for validation; temporal cuts all users at "
        "one time, rolling at four; cold asks for items that no train part holds.",
        seen="`keep` leaves the history recommendable, `unseen` excludes it.",
        targets=_targets_line,
        scoring="sequential",
    ),
)
