"""Bundle construction: some items of a set are shown, and the rest of the set is asked for."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from recbench.core.records import TargetsPart
from recbench.data.rules import BY_SESSION, PUBLISHED, RANDOM
from recbench.evaluation.measures import Measures
from recbench.tasks.task import Task, Words

if TYPE_CHECKING:
    from recbench.data import Split
    from recbench.evaluation import Group, TargetFacts

_CUTOFFS = (5, 10, 20, 40, 80)


def _facts(split: "Split") -> "TargetFacts":
    from recbench.tasks.bundle_facts import bundle_facts

    return bundle_facts(split)


def _groups(facts: "TargetFacts") -> "Iterator[Group]":
    from recbench.tasks.bundle_facts import bundle_groups

    return bundle_groups(facts)


def _targets_line(targets: TargetsPart) -> str:
    return (
        f"{targets.n_users:,} test bundles with {targets.n_targets:,} items to find, full catalogue; "
        f"{targets.n_cold:,} of these stand in no train bundle."
    )


def _divided(notes: Mapping[str, int | float | str]) -> str:
    """What the test part has in common with the train part, and what was done to the feedback."""
    from recbench.data.feedback_filter import UNOWNED

    shares = [
        f"{100 * float(notes[note]):.1f} % {words}"
        for note, words in (
            ("test bundles contained in a train bundle", "are contained in a train bundle"),
            ("test bundles with a train bundle of Jaccard 0.5 or more", "share half or more with one"),
            ("test bundles that share their session with a train bundle", "share their session with one"),
        )
        if note in notes
    ]
    said = [f"Of the test bundles {', '.join(shares)}."] if shares else []
    largest = int(notes.get("items that a test bundle asks for, at most", 0))
    if largest > _CUTOFFS[0]:
        said.append(f"A bundle asks for up to {largest} items: below K = {largest} no list reaches a recall of 1 everywhere.")
    if "feedback pairs" in notes:
        dropped = notes.get("feedback pairs that only a held bundle explains, dropped")
        said.append(
            f"Feedback: {notes['feedback pairs']:,} pairs, unfiltered."
            if dropped is None
            else f"Feedback: {notes['feedback pairs']:,} pairs, of which {dropped:,} that only a held bundle explains are dropped."
        )
    if UNOWNED in notes:
        said.append(f"{notes[UNOWNED]:,} validation and test bundles have no owner: what the feedback tells of them stays.")
    return " ".join(said)


TASK = Task(
    name="bundle",
    title="Bundle construction",
    rules=(BY_SESSION, RANDOM, PUBLISHED),
    views=("unseen",),
    list_length=80,
    measures=Measures(
        kinds=("recall", "ndcg"),
        cutoffs=_CUTOFFS,
        of_slices=("recall@20", "ndcg@20"),
        groups=_groups,
        cluster="session",
    ),
    main_metric="ndcg@20",
    validation_metrics=("ndcg@20", "recall@20"),
    validation_view="unseen",
    board_metrics=("recall@5", "recall@10", "recall@20", "recall@40", "recall@80", "ndcg@5", "ndcg@10", "ndcg@20", "ndcg@40", "ndcg@80"),
    interval_metrics=("recall@20", "ndcg@20"),
    paper_metrics=("recall@20", "recall@40", "recall@80", "ndcg@20", "ndcg@40", "ndcg@80"),
    facts=_facts,
    knows_sets=True,
    words=Words(
        unit="bundle",
        units="bundles",
        views={"unseen": "The items that are shown are excluded; the rest of the bundle is asked for."},
        groups=(
            "Target popularity is the number of train bundles with the target. "
            "A bundle with several items to find counts in each group with those that belong to it."
        ),
        split="session keeps bundles of one shopping session together, random does not; published is the source's own division.",
        seen="there is one view: what is shown is not asked for.",
        targets=_targets_line,
        divided=_divided,
        clusters="bundles of one session drawn together",
    ),
)
