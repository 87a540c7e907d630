"""Models across several contests: mean ranks, strengths, agreement of two orders, and whether the differences are more than luck.

A contest is one test of several models: a data set under a protocol. All of them are drawn again together: users within each contest, the
same ones for all of its models, and contests among each other. Figures are then computed from each drawing as from the whole.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.records import Interval
from recbench.core.seeds import frozen_generator
from recbench.evaluation.intervals import LEVELS

FloatArray = NDArray[np.float64]

# C contests, M models, R drawings, U users; a model that is not in a contest has NaN there

DRAWINGS = 500
_FRACTION_BITS = 30
"""Values, and drawn means, are rounded to multiples of 2^-30: equal models stand level whatever the order of adding."""
_SHARED = 2_048
"""Random numbers of a drawing at most, however many users there are."""
_STEPS, _CLOSE = 50, 1e-10
_PHANTOM = 0.5
"""Wins, and losses, of each model against a made-up one of strength 0: without them one that wins everything would be infinitely strong."""


def drawn_means(values_UM: FloatArray, stream: str, drawings: int = DRAWINGS) -> FloatArray:
    """Means over users of each model when users are drawn anew, the same ones for all models, (R, M); fewer than 2^23 users.

    A multiplier bootstrap (van der Vaart and Wellner 1996, section 2.9): in place of drawing users, what each adds to the deviation from
    the mean is weighted by a normal number. Thousands of users share 2,048 numbers, one in so many each, which leaves the spread as it is
    to 3 %, as many drawings do.

    Args:
        values_UM: between 0 and 1.
        stream: name of the random numbers: contests of different tests must not share their draws.
        drawings: how many times.
    """
    n = len(values_UM)
    whole_UM = np.rint(values_UM * 2.0**_FRACTION_BITS)
    mean_M = whole_UM.sum(axis=0) / n
    n_shared = min(n, _SHARED)
    added_BM = np.zeros((n_shared, values_UM.shape[1]))
    for first in range(0, n, n_shared):
        part_UM = whole_UM[first : first + n_shared]
        added_BM[: len(part_UM)] += part_UM - mean_M
    weight_RB = frozen_generator(0, "drawn means", stream).standard_normal((drawings, n_shared))
    drawn_RM: FloatArray = np.rint(mean_M + weight_RB @ added_BM / n) / 2.0**_FRACTION_BITS
    return drawn_RM


@dataclass(frozen=True, eq=False)
class Contests:
    """Several contests with their drawings.

    Attributes:
        value_CM: mean of the main metric, higher is better; NaN where a model is not in a contest.
        drawn_CRM: the same in each drawing of the users.
    """

    value_CM: FloatArray
    drawn_CRM: FloatArray

    def drawn_contests(self) -> NDArray[np.int64]:
        """Contests of each drawing, drawn with replacement, (R, C)."""
        n, drawings = self.drawn_CRM.shape[:2]
        return frozen_generator(0, "drawn contests").randint(0, n, size=(drawings, n)).astype(np.int64)

    def mean_ranks(self) -> list[Interval]:
        """Rank of each model, 1 is best, mean over the contests, with its 95 % interval; every model must be in all contests."""
        rank_CM = np.stack([ranks(value_M[None])[0] for value_M in self.value_CM])
        rank_CRM = np.stack([ranks(drawn_RM) for drawn_RM in self.drawn_CRM])
        chosen_RC = self.drawn_contests()
        drawn_RM = rank_CRM[chosen_RC, np.arange(len(chosen_RC))[:, None]].mean(axis=1)
        return _intervals(rank_CM.mean(axis=0), drawn_RM)

    def strengths(self) -> list[Interval]:
        """Bradley-Terry strength of each model with its 95 % interval: the log odds that it beats a model of strength 0 in a contest.

        A pair counts in the contests that both are in. The intervals come from drawings of users and contests, that of a model from those
        in which it meets another: the others say nothing about it.
        Source: Bradley and Terry, Biometrika 39 (1952), section 3.
        """
        found_M = bradley_terry(_wins(self.value_CM).sum(axis=0)[None])[0]
        chosen_RC = self.drawn_contests()
        drawings = np.arange(len(chosen_RC))
        wins_RMM = np.asarray(sum(_wins(self.drawn_CRM[chosen_RC[:, place], drawings]) for place in range(chosen_RC.shape[1])))
        drawn_RM = bradley_terry(wins_RMM)
        meets_RM = (wins_RMM + wins_RMM.swapaxes(1, 2)).any(axis=2)
        meets_RM |= ~meets_RM.any(axis=0)  # a model that meets none at all has strength 0 in all of them
        return [_intervals(found_M[[model]], drawn_RM[meets_RM[:, model]][:, [model]])[0] for model in range(len(found_M))]

    def predicted_orders(self) -> list[tuple[int, int]]:
        """Per contest, how many of its pairs come in the order of the strengths that all other contests give, and how many pairs there are.

        Pairs that are equal on either side are left out.
        """
        found = []
        for left in range(len(self.value_CM)):
            others = [contest for contest in range(len(self.value_CM)) if contest != left]
            strength_M = bradley_terry(_wins(self.value_CM[others]).sum(axis=0)[None])[0]
            is_known_M = ~np.isnan(self.value_CM[left]) & (~np.isnan(self.value_CM[others])).any(axis=0)
            said, was = (_signs(part[None, is_known_M])[0] for part in (strength_M, self.value_CM[left]))
            counts = (said != 0) & (was != 0)
            found.append((int((said == was)[counts].sum()), int(counts.sum())))
        return found


def ranks(values_RM: FloatArray) -> FloatArray:
    """Rank of each value in its row, 1 for the highest, (R, M); equal ones share the middle of their ranks."""
    above_RM = (values_RM[:, None, :] > values_RM[:, :, None]).sum(axis=2)
    equal_RM = (values_RM[:, None, :] == values_RM[:, :, None]).sum(axis=2)
    rank_RM: FloatArray = 1 + above_RM + (equal_RM - 1) / 2
    return rank_RM


def _wins(drawn_RM: FloatArray) -> FloatArray:
    """Who wins in each drawing, (R, M, M): 1 where the row's model beats the column's, a half for a tie, 0 where one is not there."""
    one, other = drawn_RM[:, :, None], drawn_RM[:, None, :]
    wins_RMM: FloatArray = (one > other) + 0.5 * (one == other)
    models = np.arange(drawn_RM.shape[1])
    wins_RMM[:, models, models] = 0.0
    return wins_RMM


def bradley_terry(wins_BMM: FloatArray) -> FloatArray:
    """Strengths of M models by Newton's method, (B, M) log odds against a made-up model of strength 0; see `_PHANTOM`.

    Args:
        wins_BMM: how often the row's model beat the column's, in each of B tables.
    """
    played_BMM = wins_BMM + wins_BMM.swapaxes(1, 2)
    won_BM = wins_BMM.sum(axis=2) + _PHANTOM
    strength_BM: FloatArray = np.zeros(won_BM.shape)
    models = np.arange(won_BM.shape[1])
    for _ in range(_STEPS):
        chance_BMM = 1.0 / (1.0 + np.exp(strength_BM[:, None, :] - strength_BM[:, :, None]))
        chance_BM = 1.0 / (1.0 + np.exp(-strength_BM))
        slope_BM = won_BM - (played_BMM * chance_BMM).sum(axis=2) - 2 * _PHANTOM * chance_BM
        weight_BMM = played_BMM * chance_BMM * (1.0 - chance_BMM)
        curve_BMM = -weight_BMM
        curve_BMM[:, models, models] = weight_BMM.sum(axis=2) + 2 * _PHANTOM * chance_BM * (1.0 - chance_BM)
        step_BM = np.linalg.solve(curve_BMM, slope_BM[:, :, None])[:, :, 0]
        # The log likelihood is concave but flat far out: a bounded step cannot fly off.
        strength_BM += np.clip(step_BM, -1.0, 1.0)
        if np.abs(step_BM).max() < _CLOSE:
            break
    # So that models of equal records are equal and stand in one order, whatever the processor. The zero is added for the sign of a zero.
    rounded_BM: FloatArray = np.rint(strength_BM * 2.0**_FRACTION_BITS) / 2.0**_FRACTION_BITS + 0.0
    return rounded_BM


def agreement(one_M: FloatArray, other_M: FloatArray, drawn_one_RM: FloatArray, drawn_other_RM: FloatArray) -> Interval | None:
    """Kendall's tau-b of two orders of the same models, with its 95 % interval over drawings of the users of both tests.

    1 is the same order, -1 the reverse; None where all values of one side are equal, which is no order. Drawings like that are left out.
    Source: Kendall, Biometrika 33 (1945).
    """
    found, drawn_R = _tau(one_M[None], other_M[None]), _tau(drawn_one_RM, drawn_other_RM)
    drawn_R = drawn_R[~np.isnan(drawn_R)]
    return None if np.isnan(found[0]) or not len(drawn_R) else _intervals(found, drawn_R[:, None])[0]


def _tau(one_RM: FloatArray, other_RM: FloatArray) -> FloatArray:
    one_RP, other_RP = _signs(one_RM), _signs(other_RM)
    unequal_R = np.sqrt((one_RP != 0).sum(axis=1).astype(np.float64) * (other_RP != 0).sum(axis=1))
    both_R = (one_RP * other_RP).sum(axis=1)
    tau_R: FloatArray = np.divide(both_R, unequal_R, out=np.full(len(both_R), np.nan), where=unequal_R > 0)
    return tau_R


def _signs(values_RM: FloatArray) -> FloatArray:
    """Sign of the difference of each pair of models, (R, P)."""
    first, second = np.triu_indices(values_RM.shape[1], k=1)
    sign_RP: FloatArray = np.sign(values_RM[:, first] - values_RM[:, second])
    return sign_RP


def drawn_difference(drawn_one_R: FloatArray, drawn_other_R: FloatArray, value: float) -> Interval:
    """A difference of two means with its 95 % interval, both from the same drawings."""
    return _intervals(np.array([value]), (drawn_one_R - drawn_other_R)[:, None])[0]


def _intervals(value_M: FloatArray, drawn_RM: FloatArray) -> list[Interval]:
    low_M, high_M = np.quantile(drawn_RM, LEVELS, axis=0)
    return [
        Interval(value=value, low=low, high=high)
        for value, low, high in zip(value_M.tolist(), low_M.tolist(), high_M.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class CriticalDifference:
    """Whether models differ in rank over several contests, and by how much two must differ.

    Attributes:
        p: of Friedman's test that all models are equally good; 1 where all are equal in every contest.
        difference: of two mean ranks, from which on Nemenyi's test calls them different at 5 %.
    """

    p: float
    difference: float


def critical_difference(value_CM: FloatArray) -> CriticalDifference:
    """Friedman's and Nemenyi's tests over two or more contests of three or more models; source: Demsar, JMLR 7 (2006), section 3.2.2."""
    from scipy.stats import friedmanchisquare, studentized_range

    n_contests, n_models = value_CM.shape
    quantile = float(studentized_range.ppf(0.95, n_models, np.inf)) / math.sqrt(2)
    is_level = bool((value_CM == value_CM[:, :1]).all())  # else a quotient of zeros
    p = 1.0 if is_level else float(friedmanchisquare(*value_CM.T).pvalue)
    return CriticalDifference(p, quantile * math.sqrt(n_models * (n_models + 1) / (6 * n_contests)))


def groups_within(mean_rank_M: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Longest runs of models, in rising order of their mean ranks, whose ends differ by less: places of the first and the last of each.

    Runs of one model are left out, and so are those inside another.
    """
    found: list[tuple[int, int]] = []
    for first in range(len(mean_rank_M)):
        last = max(place for place in range(first, len(mean_rank_M)) if mean_rank_M[place] - mean_rank_M[first] < difference)
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found
