"""Users' feedback on items without what would tell the rest of a held set.

A person who owns a set has used its items, and the feedback may say so: what a model reads there would be the answer. A pair of person and
item is dropped where a held (validation or test) set of the person explains it and no train set does. Nothing more is dropped: without
pairs that a train set explains too, the answers would be the very items that look unused.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recbench.core.errors import BadData
from recbench.core.interactions import Interactions
from recbench.core.ragged import Histories, IntArray, LongArray, Ragged, Targets, flat_index
from recbench.data.dataset import Notes
from recbench.data.incidence import incidence

_MOST_RECALL = 0.8
"""Co-use of items by real users stays far below this; answers that lie open reach it."""
_CUTOFF = 20
_MOST_OF_CATALOGUE = 4
"""A list holds at most the fourth part of the catalogue: any order would find the answers in a list as long as that."""
_MOST_PAIRS = 10_000
"""Pairs of items that are looked at."""
UNOWNED = "held bundles that nobody owns, whose feedback stays"
"""Note: for how many of them nothing can be dropped; there is none where all have an owner."""
_BLOCK = 64
"""Queries that are scored at a time."""


@dataclass(frozen=True)
class Ownership:
    """Which sets are for training and which are held.

    Attributes:
        sets: all of them.
        same_as: (n_sets,) the set that holds the same items and is divided in place of each; -1 for one that was left out.
        is_train: (n_sets,) which are for training.
        held: rows of validation and test.
    """

    sets: Interactions
    same_as: LongArray
    is_train: NDArray[np.bool_]
    held: LongArray


def filter_feedback(feedback: Histories, owned: Histories | None, sets: Ownership) -> tuple[Histories, Notes]:
    """The feedback that models may see, and how much was dropped.

    Args:
        feedback: row p lists the items that person p used.
        owned: row p lists the sets that person p owns; None where nobody knows, which leaves the feedback as it is.
        sets: their parts.
    """
    n_items = sets.sets.n_items
    pair = feedback.row_of_entry() * n_items + feedback.item
    notes: dict[str, int | float | str] = {"feedback pairs": len(pair)}
    if owned is None:
        return feedback, notes | {"feedback": "unfiltered, for no table says who owns which bundle"}
    is_held = np.zeros(len(sets.sets), dtype=np.bool_)
    is_held[sets.held] = True
    by_held = np.isin(pair, _explained(owned, sets, is_held))
    by_train = np.isin(pair, _explained(owned, sets, sets.is_train))
    is_owned = np.isin(sets.held, sets.same_as[owned.item])
    if not is_owned.all():
        notes[UNOWNED] = int((~is_owned).sum())
    notes["feedback pairs that only a held bundle explains, dropped"] = int((by_held & ~by_train).sum())
    notes["feedback pairs that a held and a train bundle explain, kept"] = int((by_held & by_train).sum())
    kept = ~by_held | by_train
    offsets = np.zeros(len(feedback) + 1, dtype=np.int64)
    np.cumsum(np.bincount(feedback.row_of_entry()[kept], minlength=len(feedback)), out=offsets[1:])
    return Histories(feedback.item[kept], offsets), notes


def _explained(owned: Histories, sets: Ownership, is_wanted: NDArray[np.bool_]) -> LongArray:
    """Pairs of a person and an item of one of the person's wanted sets, as numbers. An equal set stands for one that was left out."""
    person, row = owned.row_of_entry(), sets.same_as[owned.item]
    chosen = (row >= 0) & is_wanted[row]
    index, offsets = flat_index(sets.sets.offsets, row[chosen])
    return np.repeat(person[chosen], np.diff(offsets)) * sets.sets.n_items + sets.sets.item[index]


def refuse_answers(name: str, feedback: Histories, inputs: Ragged, targets: Targets, n_items: int) -> None:
    """Nothing, or a `BadData` where items that the same people used are the answers to most validation queries.

    Args:
        name: of the data set.
        feedback: as models would see it.
        inputs: what each validation query shows.
        targets: what it asks for.
        n_items: size of the catalogue.
    """
    cutoff = min(_CUTOFF, max(1, n_items // _MOST_OF_CATALOGUE))
    recall = _recall_of_co_use(feedback, inputs, targets, n_items, cutoff)
    if recall > _MOST_RECALL:
        raise BadData(
            f"{name}: the {cutoff} items that people used most often with the shown ones hold {100 * recall:.0f} % of the answers. The "
            "feedback was made from the bundles themselves. Say in the table user_bundles who owns each of them, so that these pairs can "
            "be left out, or remove the feedback table."
        )


def co_use_notes(feedback: Histories, inputs: Ragged, targets: Targets, n_items: int) -> Notes:
    """How often one person used a shown and a wanted item, and how often where the two are of different queries.

    Where nobody knows who owns which set this is all that tells whether the feedback was made from the sets: it is near 1 then.
    """
    shown, asked = _matched(inputs, targets)
    if len(shown) > _MOST_PAIRS:
        chosen = np.linspace(0, len(shown) - 1, _MOST_PAIRS).astype(np.int64)
        shown, asked = shown[chosen], asked[chosen]
    used = sparse.csr_matrix(incidence(feedback, n_items).T)

    def share(first: IntArray, second: IntArray) -> float:
        together = used[first].multiply(used[second]).sum(axis=1)
        return float((np.asarray(together).ravel() > 0).mean())

    return {
        "shown and wanted items of validation that one person used": share(shown, asked),
        "the same with wanted items of another bundle": share(shown, np.roll(asked, len(asked) // 2)),
    }


def _matched(inputs: Ragged, targets: Targets) -> tuple[IntArray, IntArray]:
    """Each shown item with each wanted one of its query."""
    pairs = [np.meshgrid(inputs[row], targets[row]) for row in range(len(inputs))]
    return np.concatenate([first.ravel() for first, _ in pairs]), np.concatenate([second.ravel() for _, second in pairs])


def _recall_of_co_use(feedback: Histories, inputs: Ragged, targets: Targets, n_items: int, cutoff: int) -> float:
    """Mean recall of the cosine of co-use, summed over the shown items, which are no answer themselves."""
    weight = incidence(feedback, n_items) @ sparse.diags(1.0 / np.sqrt(np.maximum(np.bincount(feedback.item, minlength=n_items), 1)))
    weight = sparse.csr_matrix(weight)
    shown = incidence(inputs, n_items)
    found = []
    for start in range(0, len(inputs), _BLOCK):
        # Rows of users with long lists are nearly dense: all of them at once would not fit into memory.
        scores = sparse.csr_matrix((shown[start : start + _BLOCK] @ weight.T) @ weight)
        for row in range(scores.shape[0]):
            items = scores.indices[scores.indptr[row] : scores.indptr[row + 1]]
            value = scores.data[scores.indptr[row] : scores.indptr[row + 1]]
            is_new = ~np.isin(items, inputs[start + row])
            items, value = items[is_new], value[is_new]
            best = items[np.lexsort((items, -value))[:cutoff]]
            found.append(np.isin(targets[start + row], best).mean())
    return float(np.mean(found)) if found else 0.0
