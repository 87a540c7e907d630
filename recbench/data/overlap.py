"""How much of a held part of sets stands in the train part already: near-duplicates turn a test into a question of memory."""

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from recbench.core.interactions import Interactions
from recbench.core.ragged import IntArray
from recbench.data.dataset import Notes
from recbench.data.incidence import incidence
from recbench.data.parts import SplitPart

_NEAR = 0.5


def overlap_notes(train: Interactions, parts: Mapping[str, SplitPart], group: IntArray | None) -> Notes:
    """Per part the share of sets that equal a train set, are contained in one, nearly are one, or share its group.

    Args:
        train: row per set, those of other parts empty.
        parts: held parts by name.
        group: (n_rows,) number of each set's group; None where the source tells none.
    """
    rows = np.flatnonzero(train.lengths)
    x_train = incidence(train.take(rows), train.n_items)
    size_train = train.lengths[rows]
    notes: dict[str, int | float | str] = {}
    for name, part in parts.items():
        whole = incidence(part.histories, train.n_items) + incidence(part.targets, train.n_items)
        common = sparse.coo_matrix(whole @ x_train.T)
        size = part.histories.lengths + part.targets.lengths
        union = size[common.row] + size_train[common.col] - common.data
        notes[f"{name} bundles equal to a train bundle"] = _share(common.row[common.data == union], len(part))
        notes[f"{name} bundles contained in a train bundle"] = _share(common.row[common.data == size[common.row]], len(part))
        notes[f"{name} bundles with a train bundle of Jaccard {_NEAR} or more"] = _share(
            common.row[common.data >= _NEAR * union], len(part)
        )
        if group is not None:
            notes[f"{name} bundles that share their session with a train bundle"] = float(
                np.isin(group[part.user], group[rows]).mean() if len(part) else 0.0
            )
    return notes


def _share(rows: IntArray, n: int) -> float:
    return len(np.unique(rows)) / n if n else 0.0
