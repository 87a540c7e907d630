"""What a data set of sets has beside them: groups, owners, feedback of users on items, feature vectors, a cut that was published."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.features import Features
from recbench.core.interactions import StringArray
from recbench.core.ragged import Histories, IntArray, Ragged
from recbench.core.visible import listed
from recbench.data.arrays import open_array, open_json, open_strings, save_array, save_json, save_strings
from recbench.data.reader import RawCut, RawEvents, RawFeatures, RawSide

Notes = dict[str, int | float | str]

TRAIN, VALID, TEST = 0, 1, 2
"""Parts of a published cut."""
_SHOWN = 3
"""Ids in a sentence."""
_PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}


@dataclass(frozen=True, eq=False)
class GivenCut:
    """A division that was published with the data.

    Attributes:
        part: (n_rows,) int8, `TRAIN`, `VALID` or `TEST`.
        is_input: (nnz,) bool, which entries of a validation or test set are shown; the others are asked for.
    """

    part: NDArray[np.int8]
    is_input: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SideTables:
    """Tables beside the sets, by the rows of a data set. Which of them a model may see is for the split to say.

    Attributes:
        group_ids: (n_groups,) the source's ids of groups of sets, such as shopping sessions; None where it tells none.
        group: (n_rows,) int32, number of each set's group; None likewise.
        owned: row p lists the sets that person p owns; None where nobody knows.
        feedback: row p lists the items that person p used, ascending, each once; None where there is no such table. People are
            those of `owned`.
        features: vectors of items by name.
        given: the published cut; None where there is none.
        notes: things counted while reading.
    """

    group_ids: StringArray | None = None
    group: IntArray | None = None
    owned: Histories | None = None
    feedback: Histories | None = None
    features: Mapping[str, Features] = field(default_factory=dict)
    given: GivenCut | None = None
    notes: Mapping[str, int | float | str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write all of it below a new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "has_groups": self.group is not None,
            "has_owned": self.owned is not None,
            "has_feedback": self.feedback is not None,
            "features": list(self.features),
            "has_given": self.given is not None,
            "notes": dict(self.notes),
        }
        save_json(folder, "side", about)
        if self.group_ids is not None and self.group is not None:
            save_strings(folder, "group_ids", self.group_ids)
            save_array(folder, "group", self.group)
        save_lists(folder, "owned", self.owned)
        save_lists(folder, "feedback", self.feedback)
        save_features(folder, self.features)
        if self.given is not None:
            save_array(folder, "given.part", self.given.part)
            save_array(folder, "given.is_input", self.given.is_input)

    @classmethod
    def open(cls, folder: Path) -> "SideTables":
        """Open the folder that `save` wrote, memory-mapped."""
        about = open_json(folder, "side")
        return cls(
            open_strings(folder, "group_ids") if about["has_groups"] else None,
            open_array(folder, "group") if about["has_groups"] else None,
            open_lists(folder, "owned") if about["has_owned"] else None,
            open_lists(folder, "feedback") if about["has_feedback"] else None,
            open_features(folder, about["features"]),
            GivenCut(open_array(folder, "given.part"), open_array(folder, "given.is_input")) if about["has_given"] else None,
            about["notes"],
        )


def save_lists(folder: Path, name: str, lists: Histories | None) -> None:
    """Write lists under a name; nothing where there are none."""
    if lists is not None:
        save_array(folder, f"{name}.item", lists.item)
        save_array(folder, f"{name}.offsets", lists.offsets)


def open_lists(folder: Path, name: str) -> Histories:
    """Lists, memory-mapped."""
    return Histories(open_array(folder, f"{name}.item"), open_array(folder, f"{name}.offsets"))


def save_features(folder: Path, features: Mapping[str, Features]) -> None:
    """Write vectors by name."""
    for name, table in features.items():
        save_array(folder, f"features.{name}.matrix", table.matrix)
        save_array(folder, f"features.{name}.is_present", table.is_present)


def open_features(folder: Path, names: Sequence[str]) -> dict[str, Features]:
    """Vectors by name, memory-mapped."""
    return {
        name: Features(open_array(folder, f"features.{name}.matrix"), open_array(folder, f"features.{name}.is_present")) for name in names
    }


def side_tables(raw: RawSide, row_ids: StringArray, item_ids: StringArray, sets: Ragged) -> SideTables:
    """The tables of a reader by rows of the data set; what is about other sets or items is left out and counted.

    Raises:
        BadData: a set has no group although there is a table of groups, or a table is about nothing that the data set has.
    """
    notes: Notes = dict(raw.notes)
    group_ids, group = _groups(raw.groups, row_ids)
    people = _people(raw.owned, raw.feedback)
    owned = None if raw.owned is None else _lists(raw.owned, people, row_ids, "owned bundles", notes)
    feedback = None if raw.feedback is None else _lists(raw.feedback, people, item_ids, "feedback pairs", notes)
    features = {name: _features(name, table, item_ids, notes) for name, table in raw.features.items()}
    given = None if raw.cut is None else _given(raw.cut, row_ids, item_ids, sets)
    return SideTables(group_ids, group, owned, feedback, features, given, notes)


def _given(cut: RawCut, row_ids: StringArray, item_ids: StringArray, sets: Ragged) -> GivenCut:
    """The division by rows.

    Raises:
        BadData: a set stands in no part or in an unknown one, or a held set shows nothing or all of itself.
    """
    odd = [row for row in row_ids if cut.part.get(row) not in _PARTS]
    if odd:
        raise BadData(f"Bundle {odd[0]!r} is in the part {cut.part.get(odd[0])!r}. Write one of {', '.join(_PARTS)} for each bundle.")
    part = np.fromiter((_PARTS[cut.part[row]] for row in row_ids), np.int8, len(row_ids))
    row = sets.row_of_entry()
    pairs = zip(row_ids[row].tolist(), item_ids[sets.item].tolist(), strict=True)
    is_input = np.fromiter((pair in cut.shown for pair in pairs), np.bool_, len(row))
    n_shown = np.bincount(row[is_input], minlength=len(sets))
    faults = np.flatnonzero((part != TRAIN) & ((n_shown == 0) | (n_shown == sets.lengths)))
    if len(faults):
        which = row_ids[faults[0]]
        raise BadData(f"Bundle {which!r} shows {n_shown[faults[0]]} of its {sets.lengths[faults[0]]} items. Show some, and ask for some.")
    return GivenCut(part, is_input)


def _groups(groups: Mapping[str, str] | None, row_ids: StringArray) -> tuple[StringArray | None, IntArray | None]:
    """Group ids in sorted order and the number of each row's group."""
    if groups is None:
        return None, None
    missing = [row for row in row_ids if row not in groups]
    if missing:
        raise BadData(f"The table of groups lacks {len(missing)} bundles, such as {listed(missing[:_SHOWN])}. Complete or remove it.")
    known = sorted({groups[row] for row in row_ids})
    number = {group: place for place, group in enumerate(known)}
    ids: StringArray = np.empty(len(known), dtype=object)
    ids[:] = known
    return ids, np.fromiter((number[groups[row]] for row in row_ids), np.int32, len(row_ids))


def _people(*tables: RawEvents | None) -> dict[str, int]:
    """Row of each person, in the order of their ids."""
    ids: set[str] = set()
    for table in tables:
        if table is not None:
            ids.update(table.user_ids[np.unique(table.user)])
    return {person: row for row, person in enumerate(sorted(ids))}


def _lists(pairs: RawEvents, people: Mapping[str, int], ids: StringArray, what: str, notes: Notes) -> Histories:
    """Per person the rows of what the pairs name, ascending, each once."""
    rows = {name: row for row, name in enumerate(ids)}
    person = np.fromiter((people.get(name, -1) for name in pairs.user_ids), np.int64, len(pairs.user_ids))[pairs.user]
    row = np.fromiter((rows.get(name, -1) for name in pairs.item_ids), np.int64, len(pairs.item_ids))[pairs.item]
    is_known = row >= 0
    if len(row) and not is_known.any():
        raise BadData(f"None of the {len(row)} {what} is about anything in this data set. The ids of the two tables differ: correct them.")
    key = np.unique(person[is_known] * len(ids) + row[is_known])
    notes[f"{what}, each once"] = len(key)
    notes[f"{what} about others left out"] = int(len(row) - is_known.sum())
    offsets = np.zeros(len(people) + 1, dtype=np.int64)
    np.cumsum(np.bincount(key // len(ids), minlength=len(people)), out=offsets[1:])
    return Histories((key % len(ids)).astype(np.int32), offsets)


def _features(name: str, raw: RawFeatures, item_ids: StringArray, notes: Notes) -> Features:
    """Vectors joined by item id, never by place."""
    place = {item: row for row, item in enumerate(raw.item_ids)}
    if len(place) < len(raw.item_ids):
        raise BadData(f"The feature {name!r} names an item id twice. Keep one vector for each item.")
    row = np.fromiter((place.get(item, -1) for item in item_ids), np.int64, len(item_ids))
    is_present = row >= 0
    if not is_present.any():
        raise BadData(f"The feature {name!r} has a vector of none of the {len(item_ids)} items. Its ids are of another numbering.")
    matrix = np.zeros((len(item_ids), raw.matrix.shape[1]), dtype=np.float32)
    matrix[is_present] = raw.matrix[row[is_present]]
    if not np.isfinite(matrix).all():
        raise BadData(f"The feature {name!r} holds values that are no finite numbers. Correct them.")
    notes[f"items without the feature {name}"] = int((~is_present).sum())
    notes[f"vectors of {name} about other items left out"] = len(place) - int(is_present.sum())
    return Features(matrix, is_present)


def feedback_digest(feedback: Histories) -> str:
    """sha256 over lists of item rows; the ids behind the rows are those of the split."""
    hasher = hashlib.sha256(b"recbench feedback 1\n")
    hasher.update(np.ascontiguousarray(feedback.offsets, dtype="<i8").tobytes())
    hasher.update(np.ascontiguousarray(feedback.item, dtype="<i4").tobytes())
    return hasher.hexdigest()


def feature_digests(features: Mapping[str, Features]) -> dict[str, str]:
    """sha256 of the vectors of each name."""
    found = {}
    for name, table in features.items():
        hasher = hashlib.sha256(f"recbench features 1 {table.matrix.shape}\n".encode())
        hasher.update(np.ascontiguousarray(table.is_present).tobytes())
        hasher.update(np.ascontiguousarray(table.matrix, dtype="<f4").tobytes())
        found[name] = hasher.hexdigest()
    return found
