"""How a target could be found from the last item of the history: what a test asks, told from the train part and the items' texts alone."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recbench.core.interactions import Interactions
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.evaluation.facts import steps_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# I items, W words, n targets

RELATIONS = ("seen pair", "seen pair, reversed", "two steps", "shared neighbour", "near text", "none of these")
"""The relations in the order in which they are looked for; each target has the first that holds.

* seen pair: the target comes right after the last item of the history somewhere in the train part.
* seen pair, reversed: the last item comes right after the target.
* two steps: some item comes right after the last item, and the target right after that one.
* shared neighbour: some item comes right after both, or both come right after it.
* near text: the target is among the `NEAR` items whose texts are most like that of the last item.
"""
NEAR = 20
_COMMON = 0.1
"""Words of more than this share of the items tell none apart, and count nothing."""
_WORD = re.compile(r"\w+")
_ROWS, _ROWS_OF_TEXT = 8192, 512


def target_relations(train: Interactions, histories: Histories, targets: Targets, texts: Sequence[str] | None) -> IntArray:
    """The relation of every target, (n_targets,) int32 places in `RELATIONS`; without a history it is the last one.

    Args:
        train: the train part.
        histories: (B,) what each query knows.
        targets: (B,) what each query is asked for.
        texts: (n_items,) text of each item, empty where there is none; None: there are no texts.
    """
    last_n, target_n = histories.last_items()[targets.row_of_entry()], targets.item.astype(np.int64)
    found = np.full(len(target_n), len(RELATIONS) - 1, dtype=np.int32)
    asked = np.flatnonzero(last_n >= 0)
    after_II = _steps(train)
    before_II = after_II.T.tocsr()
    for start in range(0, len(asked), _ROWS):
        rows = asked[start : start + _ROWS]
        found[rows] = _by_steps(after_II, before_II, last_n[rows], target_n[rows])
    if texts is not None:
        rows = np.flatnonzero((found == len(RELATIONS) - 1) & (last_n >= 0))
        found[rows[_near(texts, last_n[rows], target_n[rows])]] = RELATIONS.index("near text")
    return found


def _steps(train: Interactions) -> "csr_array":
    """(I, I) 1 where the column's item comes right after the row's in some list, else nothing."""
    from scipy.sparse import csr_array

    step = np.unique(steps_of(train))
    row, column = np.divmod(step, train.n_items)
    return csr_array((np.ones(len(step), np.int32), (row, column)), shape=(train.n_items, train.n_items))


def _by_steps(after_II: "csr_array", before_II: "csr_array", last: LongArray, target: LongArray) -> IntArray:
    """The first relation of steps that holds for each pair, the last of all where none does."""
    after_last, after_target, before_last, before_target = after_II[last], after_II[target], before_II[last], before_II[target]

    def meet(one: "csr_array", other: "csr_array") -> NDArray[np.bool_]:
        return np.asarray(one.multiply(other).sum(axis=1)).ravel() > 0

    holds = (
        np.asarray(after_II[last, target]).ravel() > 0,
        np.asarray(after_II[target, last]).ravel() > 0,
        meet(after_last, before_target),
        meet(after_last, after_target) | meet(before_last, before_target),
    )
    found = np.full(len(last), len(RELATIONS) - 1, dtype=np.int32)
    for place in reversed(range(len(holds))):
        found[holds[place]] = place
    return found


def _near(texts: Sequence[str], last: LongArray, target: LongArray) -> NDArray[np.bool_]:
    """Whether each target's text is among those most like its last item's; one as near as the last of them is among them."""
    word_IW = _weighted_words(texts)
    items, place = np.unique(last, return_inverse=True)
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(0, len(items) + _ROWS_OF_TEXT, _ROWS_OF_TEXT))
    word_WI = word_IW.T.tocsr()
    is_near = np.zeros(len(last), dtype=np.bool_)
    for number, first in enumerate(range(0, len(items), _ROWS_OF_TEXT)):
        block = items[first : first + _ROWS_OF_TEXT]
        like = (word_IW[block] @ word_WI).tocsr()
        # The item itself is as near as any; it takes one place more.
        least = np.array([_nth_largest(like.data[like.indptr[row] : like.indptr[row + 1]], NEAR + 1) for row in range(len(block))])
        mine = order[bounds[number] : bounds[number + 1]]
        row = place[mine] - first
        cosine = np.asarray(like[row, target[mine]]).ravel()
        is_near[mine] = (cosine > 0) & (cosine >= least[row])
    return is_near


def _weighted_words(texts: Sequence[str]) -> "csr_array":
    """(I, W) words of each text, once each, weighted by how few items have them, at length 1."""
    from scipy.sparse import csr_array

    number: dict[str, int] = {}
    words = [sorted({number.setdefault(word, len(number)) for word in _WORD.findall(text.lower())}) for text in texts]
    offsets = np.cumsum([0, *map(len, words)])
    column = np.array([word for row in words for word in row], dtype=np.int64)
    count_W = np.bincount(column, minlength=len(number))
    weight_W = np.where(count_W > _COMMON * len(texts), 0.0, np.log(len(texts) / np.maximum(count_W, 1)))
    weight = weight_W[column]
    length_I = np.sqrt(np.bincount(np.repeat(np.arange(len(texts)), np.diff(offsets)), weights=weight**2, minlength=len(texts)))
    out = csr_array(
        (weight / np.repeat(np.where(length_I > 0, length_I, 1.0), np.diff(offsets)), column, offsets), shape=(len(texts), len(number))
    )
    out.eliminate_zeros()
    return out


def _nth_largest(values: NDArray[np.float64], n: int) -> float:
    """The n-th largest value; 0 where there are fewer."""
    return float(np.partition(values, -n)[-n]) if len(values) >= n else 0.0
