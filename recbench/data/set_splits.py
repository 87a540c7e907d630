"""Ways to divide sets: at random, by groups of sets, or as published. What is asked for is the rest of a set of which some items are shown.

Draws come from `numpy.random.default_rng(seed)`, in an order that is part of the protocol. NumPy does not promise the stream of
`permutation`, and the figures of earlier work hang on it, so it is checked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbench.core.errors import BadRequest
from recbench.core.interactions import Interactions, StringArray, TimeKind
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.data.dataset import Dataset, Notes
from recbench.data.feedback_filter import UNOWNED, Ownership, co_use_notes, filter_feedback, refuse_answers
from recbench.data.overlap import overlap_notes
from recbench.data.parts import Parts, SplitPart
from recbench.data.side import TEST, TRAIN, VALID, SideTables

_LEAST_SIZE = 2
_TRAIN_SHARE, _VALID_END = 0.8, 0.9
_KNOWN_PERMUTATION = (4, 6, 2, 7, 3, 5, 9, 0, 8, 1)
"""Of ten numbers under seed 0, as NumPy 2.4.6 draws it."""


@dataclass(frozen=True)
class _Kept:
    """Sets that are divided.

    Attributes:
        rows: in shortlex order of their ids.
        same_as: (n_rows,) for each row of the data set the kept row that holds the same items; -1 for one that is too small.
        notes: how many were left out.
    """

    rows: LongArray
    same_as: LongArray
    notes: Notes


def shortlex(ids: Sequence[str] | StringArray, rows: LongArray) -> LongArray:
    """The rows in the order of their ids, the shorter id first: the order of numbers for ids such as `44028`, defined for any."""
    return np.array(sorted(rows.tolist(), key=lambda row: (len(ids[row]), ids[row])), dtype=np.int64)


def _kept(dataset: Dataset) -> _Kept:
    sets = dataset.interactions
    first_of: dict[tuple[int, ...], int] = {}
    same_as = np.full(len(sets), -1, dtype=np.int64)
    rows = []
    n_small = 0
    for row in shortlex(dataset.user_ids, np.arange(len(sets))).tolist():
        items = tuple(sorted(set(sets[row].tolist())))
        if len(items) < _LEAST_SIZE:
            n_small += 1
            continue
        same_as[row] = first_of.setdefault(items, row)
        if same_as[row] == row:
            rows.append(row)
    notes = {
        f"bundles of fewer than {_LEAST_SIZE} items left out": n_small,
        "bundles equal to another left out": int((same_as >= 0).sum()) - len(rows),
    }
    return _Kept(np.array(rows, dtype=np.int64), same_as, notes)


def _generator(seed: int) -> np.random.Generator:
    if tuple(np.random.default_rng(0).permutation(10).tolist()) != _KNOWN_PERMUTATION:
        raise BadRequest(
            f"NumPy {np.__version__} shuffles in another order than version 2.4.6, by which these splits are defined. Install numpy 2.4."
        )
    return np.random.default_rng(seed)


def random(dataset: Dataset, options: Mapping[str, Any]) -> Parts:
    kept, generator = _kept(dataset), _generator(options["seed"])
    order = kept.rows[generator.permutation(len(kept.rows))]
    train, valid, test = np.split(order, [int(_TRAIN_SHARE * len(order)), int(_VALID_END * len(order))])
    return _parts(dataset, kept, (train, valid, test), generator)


def by_group(dataset: Dataset, options: Mapping[str, Any]) -> Parts:
    side = dataset.side
    if side is None or side.group is None or side.group_ids is None:
        raise BadRequest(
            f"{dataset.card.name} has no table of sessions, so that its bundles cannot be kept together by them. Use --protocol random."
        )
    kept, generator = _kept(dataset), _generator(options["seed"])
    group = side.group[kept.rows]
    present = shortlex(side.group_ids, np.unique(group).astype(np.int64))
    shuffled = present[generator.permutation(len(present))]
    place = np.empty(len(side.group_ids), dtype=np.int64)
    place[shuffled] = np.arange(len(shuffled))
    bounds = [int(_TRAIN_SHARE * len(shuffled)), int(_VALID_END * len(shuffled))]
    part = np.searchsorted(bounds, place[group], side="right")
    train, valid, test = (kept.rows[part == number] for number in (TRAIN, VALID, TEST))
    return _parts(dataset, kept, (train, valid, test), generator, cluster=side.group)


def _parts(
    dataset: Dataset,
    kept: _Kept,
    rows: tuple[LongArray, LongArray, LongArray],
    generator: np.random.Generator,
    cluster: IntArray | None = None,
) -> Parts:
    """Train sets whole; of the others the first half of a shuffle is shown. Rows come in the order in which they are shuffled."""
    sets, item_ids = dataset.interactions, dataset.items.item_ids

    def cut(row: int) -> tuple[LongArray, LongArray]:
        items = shortlex(item_ids, np.unique(sets[row]).astype(np.int64))
        shuffled = items[generator.permutation(len(items))]
        n_shown = max(1, len(shuffled) // 2)
        return np.sort(shuffled[:n_shown]), np.sort(shuffled[n_shown:])

    valid, test = (_asked(part, cut, cluster) for part in rows[1:])
    return _finished(dataset, kept.same_as, rows[0], valid, test, kept.notes)


def published(dataset: Dataset, options: Mapping[str, Any]) -> Parts:  # noqa: ARG001 (it has none)
    given = None if dataset.side is None else dataset.side.given
    if given is None:
        raise BadRequest(f"{dataset.card.name} comes without a published division. Use --protocol random.")
    sets = dataset.interactions

    def cut(row: int) -> tuple[LongArray, LongArray]:
        items, is_input = sets[row], given.is_input[sets.offsets[row] : sets.offsets[row + 1]]
        return np.unique(items[is_input]).astype(np.int64), np.unique(items[~is_input]).astype(np.int64)

    valid, test = (_asked(np.flatnonzero(given.part == part), cut, None) for part in (VALID, TEST))
    same_as = np.arange(len(sets), dtype=np.int64)
    return _finished(dataset, same_as, np.flatnonzero(given.part == TRAIN), valid, test, {})


def _asked(rows: LongArray, cut: Callable[[int], tuple[LongArray, LongArray]], cluster: IntArray | None) -> SplitPart:
    """Queries in ascending order of rows."""
    halves = {row: cut(row) for row in rows.tolist()}
    user = np.sort(rows).astype(np.int32)
    return SplitPart(
        user=user,
        histories=Histories.from_lists([halves[row][0].tolist() for row in user.tolist()]),
        targets=Targets.from_lists([halves[row][1].tolist() for row in user.tolist()]),
        timestamp=None,
        is_tied=None,
        cluster=None if cluster is None else cluster[user].astype(np.int32),
        is_of_strangers=True,
    )


def _finished(dataset: Dataset, same_as: LongArray, train_rows: LongArray, valid: SplitPart, test: SplitPart, notes: Notes) -> Parts:
    """The parts, with filtered feedback and what they have in common."""
    sets, side = dataset.interactions, dataset.side or SideTables()
    is_train = np.zeros(len(sets), dtype=np.bool_)
    is_train[train_rows] = True
    lists = [np.unique(sets[row]).tolist() if is_train[row] else [] for row in range(len(sets))]
    packed = Histories.from_lists(lists)
    train = Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), sets.n_items, TimeKind.NONE)
    counted = {**side.notes, **notes, **overlap_notes(train, {"validation": valid, "test": test}, side.group)}
    counted["items that a test bundle asks for, at most"] = int(test.targets.lengths.max(initial=0))
    if side.feedback is None:
        return Parts(train, valid, test, counted)
    held = np.concatenate([valid.user, test.user]).astype(np.int64)
    feedback, taken = filter_feedback(side.feedback, side.owned, Ownership(sets, same_as, is_train, held))
    if (side.owned is None or UNOWNED in taken) and len(valid):
        taken = {**taken, **co_use_notes(feedback, valid.histories, valid.targets, sets.n_items)}
    refuse_answers(dataset.card.name, feedback, valid.histories, valid.targets, sets.n_items)
    return Parts(train, valid, test, {**counted, **taken}, feedback)
