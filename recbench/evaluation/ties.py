"""Influence of ties: expected metrics under random tie breaking, and list diagnostics."""

import numpy as np
from numpy.typing import NDArray

from recbench.core.ragged import LongArray, Targets
from recbench.core.ranking import Rankings, View
from recbench.evaluation.metrics.places import discounts

FloatArray = NDArray[np.float64]

_CELLS_AT_A_TIME = 1 << 22


def expected_hit(better: LongArray, equal: LongArray, k: int) -> FloatArray:
    """Chance that the target stands among the first k when ties are broken at random.

    Args:
        better: (n,) items that score strictly higher than the target.
        equal: (n,) items that score the same, the target included.
        k: places that count.
    """
    return np.clip((k - better) / equal, 0.0, 1.0)


def expected_ndcg(better: LongArray, equal: LongArray, k: int) -> FloatArray:
    """Mean of the target's NDCG@k over all orders of the tied items; arguments as in `expected_hit`."""
    return _expected(discounts(k), better, equal)


def expected_mrr(better: LongArray, equal: LongArray, k: int) -> FloatArray:
    """Mean of the target's MRR@k over all orders of the tied items; arguments as in `expected_hit`."""
    return _expected(1.0 / np.arange(1, k + 1), better, equal)


def _expected(value_of_place: FloatArray, better: LongArray, equal: LongArray) -> FloatArray:
    k = len(value_of_place)
    total = np.append(0.0, np.cumsum(value_of_place))
    mean: FloatArray = (total[np.minimum(better + equal, k)] - total[np.minimum(better, k)]) / equal
    return mean


def tied_places(rankings: Rankings, targets: Targets, view: View) -> tuple[LongArray, LongArray]:
    """For each target how many items of its list score higher, and how many the same (itself included), two times (n_targets,).

    A target that is not in the list has 0 equal items.
    """
    index = rankings.views.index(view)
    items, scores = rankings.items[index], rankings.scores[index]
    row = targets.row_of_entry()
    better = np.zeros(len(row), dtype=np.int64)
    equal = np.zeros(len(row), dtype=np.int64)
    block = max(1, _CELLS_AT_A_TIME // max(rankings.k, 1))
    for start in range(0, len(row), block):
        part = slice(start, start + block)
        found, place = np.nonzero(items[row[part]] == targets.item[part, None])
        query = row[part][found]
        own = scores[query, place][:, None]
        is_item = items[query] >= 0
        better[start + found] = ((scores[query] > own) & is_item).sum(axis=1)
        equal[start + found] = ((scores[query] == own) & is_item).sum(axis=1)
    return better, equal


def tie_sensitivity(rankings: Rankings, targets: Targets, k: int) -> dict[str, float]:
    """How much the order of equal scores matters, per view, for the diagnostics of a record.

    `tied_targets_VIEW`: share of the found targets whose score another item of the list has too.
    `tie_size_VIEW`: mean number of items of the list that share the score of a found target, the target included.
    `ndcg@K_random_ties_VIEW`: NDCG@k if the order of equal scores within the list were drawn at random. Items with the same
    score that the end of the list cut off are not seen here.
    """
    figures: dict[str, float] = {}
    for view in rankings.views:
        better, equal = tied_places(rankings, targets, view)
        figures |= tie_figures(view, better, equal, targets, k)
    return figures


def tie_figures(view: View, better: LongArray, equal: LongArray, targets: Targets, k: int) -> dict[str, float]:
    """The figures of `tie_sensitivity` for one view, from `tied_places`."""
    is_found = equal > 0
    gain = np.zeros(len(equal), dtype=np.float64)
    gain[is_found] = expected_ndcg(better[is_found], equal[is_found], k)
    has_target = targets.lengths > 0
    if not has_target.any():
        return {}
    sums = np.add.reduceat(gain, targets.offsets[:-1][has_target])
    ideal = np.cumsum(discounts(k))[np.minimum(targets.lengths[has_target], k) - 1]
    figures = {f"ndcg@{k}_random_ties_{view}": float((sums / ideal).mean())}
    if is_found.any():
        figures[f"tied_targets_{view}"] = float((equal[is_found] > 1).mean())
        figures[f"tie_size_{view}"] = float(equal[is_found].mean())
    return figures


def list_diagnostics(rankings: Rankings) -> dict[str, float]:
    """Per view `list_length_mean_VIEW` and `short_lists_VIEW`, the share of lists with fewer items than asked for."""
    figures: dict[str, float] = {}
    for view in rankings.views:
        lengths = (rankings.view(view) >= 0).sum(axis=1)
        if len(lengths):
            figures[f"list_length_mean_{view}"] = float(lengths.mean())
            figures[f"short_lists_{view}"] = float((lengths < rankings.k).mean())
    return figures
