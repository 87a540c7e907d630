"""Bundle construction: some items of a set are shown, and the rest of the set is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recbench.core.interactions import Interactions
from recbench.core.ragged import Ragged
from recbench.core.records import TargetsPart
from recbench.data import Split
from recbench.data.feedback_filter import UNOWNED
from recbench.data.incidence import incidence
from recbench.data.set_splits import BY_SESSION, PUBLISHED, RANDOM
from recbench.evaluation import Group, Measures, TargetFacts, groups_by_fact, groups_by_size, target_facts
from recbench.tasks.task import Task, Words

_CUTOFFS = (5, 10, 20, 40, 80)
_POPULARITY = (("cold", 0), ("once", 1), ("2-4", 4), ("5 and more", None))
"""Groups of how many train bundles hold the target, with their greatest count."""
_INPUT_SIZE = (("1", 1), ("2", 2), ("3-4", 4), ("5 and more", None))
_BUNDLE_SIZE = (("2", 2), ("3", 3), ("4-5", 5), ("6 and more", None))
_COLD_INPUT = (("all warm", 0), ("some cold", 1), ("all cold", 2))


def _facts(split: Split) -> TargetFacts:
    part = split.test
    facts = target_facts(split.train, part.histories, part.targets, part.user, None)
    sizes = part.targets.lengths
    count = split.train.item_counts()
    n_cold = np.bincount(part.histories.row_of_entry(), weights=count[part.histories.item] == 0, minlength=len(part))
    coldness = np.where(n_cold == 0, 0, np.where(n_cold == part.histories.lengths, 2, 1))
    of_task = {
        "bundle_size": np.repeat(part.histories.lengths + sizes, sizes).astype(np.int32),
        "met_before": _met_before(split.train, part.histories, part.targets),
        "input_coldness": np.repeat(coldness, sizes).astype(np.int32),
    }
    if part.cluster is not None:
        of_task["session"] = np.repeat(part.cluster, sizes).astype(np.int32)
    return replace(facts, follows_last=None, of_task=of_task)


def _met_before(train: Interactions, inputs: Ragged, targets: Ragged) -> NDArray[np.bool_]:
    """Whether each target stands in a train bundle together with an item that is shown, (n_targets,) bool."""
    bundles = incidence(train, train.n_items)
    met = sparse.csr_matrix((incidence(inputs, train.n_items) @ bundles.T) @ bundles)
    found: NDArray[np.bool_] = np.asarray(met[targets.row_of_entry(), targets.item]).ravel() > 0
    return found


def _groups(facts: TargetFacts) -> Iterator[Group]:
    """Popular or rare targets, large or small inputs and bundles, targets met with an input before; those that have a target."""
    found = [
        *groups_by_size("target popularity", facts.target_count, _POPULARITY),
        *groups_by_fact("target in a train bundle", facts.target_count > 0, "warm", "cold"),
        *groups_by_size("input size", facts.history_length, _INPUT_SIZE),
        *groups_by_size("bundle size", facts.of_task["bundle_size"], _BUNDLE_SIZE),
        *groups_by_fact("target and input together in train", facts.of_task["met_before"], "met", "never"),
        *groups_by_size("input", facts.of_task["input_coldness"], _COLD_INPUT),
    ]
    yield from (group for group in found if group.rows.any())


def _targets_line(targets: TargetsPart) -> str:
    return (
        f"{targets.n_users:,} test bundles with {targets.n_targets:,} items to find, full catalogue; "
        f"{targets.n_cold:,} of these stand in no train bundle."
    )


def _divided(notes: Mapping[str, int | float | str]) -> str:
    """What the test part has in common with the train part, and what was done to the feedback."""
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
