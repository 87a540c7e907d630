"""The interval of a difference of two rows that counts seeds and users both as drawn, without drawing.

Of S seeds drawn S times with replacement there are finitely many mixtures, each with a known probability. Given the mixtures of both
rows, the difference is a mean over drawn users, whose distribution follows from its first three moments (Edgeworth's expansion; Hall
1992, section 2.4). The whole is the average of these distributions over all mixtures.
"""

import math
from dataclasses import dataclass

import numpy as np

from recbench.evaluation.sums_of_draws import FloatArray, Mixtures, first_bounds

_MOST_SEEDS = 5
"""Seeds of a row whose mixtures are counted out: of five there are 126."""


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of what each cluster adds to the difference under W mixtures, and to the number of users; `_X` runs over powers of a bound.

    For a bound x the difference is at most x where the sum of w y - x s over the drawn clusters is at most 0: y are sums under the seeds,
    w a mixture, s the number of users.
    """

    n: int
    chance_W: FloatArray
    mean_W: FloatArray
    mean_size: float
    variance_WX: FloatArray
    third_WX: FloatArray
    of_seeds: float
    """Variance of the difference by seeds that no mixture counts out."""

    @classmethod
    def of(cls, sums_CK: FloatArray, weight_WK: FloatArray, chance_W: FloatArray, of_seeds: float) -> "_Moments":
        n, n_columns = sums_CK.shape
        mean_K = sums_CK.mean(axis=0)
        centred_CK = sums_CK - mean_K
        second_KK = centred_CK.T @ centred_CK / n
        pairs_CL = (centred_CK[:, :, None] * centred_CK[:, None, :]).reshape(n, n_columns**2)
        third_KKK = (pairs_CL.T @ centred_CK / n).reshape(n_columns, n_columns, n_columns)
        whole_WK = np.concatenate([weight_WK, np.zeros((len(weight_WK), 1))], axis=1)

        once_WKK = (whole_WK @ third_KKK.reshape(n_columns, -1)).reshape(-1, n_columns, n_columns)
        twice_WK = (once_WKK * whole_WK[:, :, None]).sum(axis=1)
        second_WK = whole_WK @ second_KK
        variance_WX = np.stack([(second_WK * whole_WK).sum(axis=1), second_WK[:, -1], np.full(len(chance_W), second_KK[-1, -1])], axis=1)
        third_WX = np.stack(
            [(twice_WK * whole_WK).sum(axis=1), twice_WK[:, -1], once_WKK[:, -1, -1], np.full(len(chance_W), third_KKK[-1, -1, -1])], axis=1
        )
        return cls(n, chance_W, whole_WK @ mean_K, float(mean_K[-1]), variance_WX, third_WX, of_seeds)

    def chance_of_at_most(self, bound: float) -> float:
        """Probability that the difference is at most `bound`."""
        from scipy.special import ndtr

        mean_W = self.mean_W - bound * self.mean_size
        variance_W = self.variance_WX @ np.array([1.0, -2 * bound, bound**2]) / self.n + self.of_seeds * self.mean_size**2
        third_W = self.third_WX @ np.array([1.0, -3 * bound, 3 * bound**2, -(bound**3)]) / self.n**2
        scale = max(float(np.abs(self.mean_W).max()), abs(bound) * self.mean_size)
        has_spread_W = variance_W > (1e-12 * scale) ** 2
        spread_W = np.sqrt(np.where(has_spread_W, variance_W, 1.0))
        place_W = -mean_W / spread_W
        bent_W = ndtr(place_W) - np.exp(-(place_W**2) / 2) / math.sqrt(2 * math.pi) * third_W / spread_W**3 / 6 * (place_W**2 - 1)
        below_W = np.where(has_spread_W, np.clip(bent_W, 0.0, 1.0), mean_W <= 1e-12 * scale)
        return math.fsum((below_W * self.chance_W).tolist())


def difference_ends(sums_CK: FloatArray, n_seeds_a: int, chance_P: FloatArray) -> FloatArray:
    """(P,) values that the difference of two rows, drawn anew, stays at or below with each probability.

    Args:
        sums_CK: of each cluster of users (or user) the sums under the seeds of A, then of B, and in the last column how many users it has.
        n_seeds_a: how many columns are A's.
        chance_P: the probabilities.
    """
    (a, of_a), (b, of_b) = (_mixtures(part) for part in np.split(sums_CK[:, :-1] / sums_CK[:, -1].mean(), [n_seeds_a], axis=1))
    first_W, second_W = (number.ravel() for number in np.indices((len(a.chance_W), len(b.chance_W))))
    weight_WK = np.concatenate([a.weight_WS[first_W], -b.weight_WS[second_W]], axis=1)
    moments = _Moments.of(sums_CK, weight_WK, a.chance_W[first_W] * b.chance_W[second_W], of_a + of_b)
    difference_W = moments.mean_W / moments.mean_size
    middle = float(difference_W @ moments.chance_W)
    of_users_W = np.maximum(moments.variance_WX[:, 0], 0.0) / len(sums_CK) / moments.mean_size**2
    spread = math.sqrt(float((of_users_W + (difference_W - middle) ** 2) @ moments.chance_W) + moments.of_seeds)
    reach = 12 * math.sqrt(float(of_users_W.max()) + moments.of_seeds) + 1e-9 * float(np.abs(difference_W).max())
    low_P, high_P = (np.full(len(chance_P), end) for end in (difference_W.min() - reach, difference_W.max() + reach))

    def chances(bound_P: FloatArray) -> FloatArray:
        return np.array([moments.chance_of_at_most(bound) for bound in bound_P.tolist()])

    return first_bounds(chances, chance_P, low_P, high_P, np.full(len(chance_P), middle), np.full(len(chance_P), spread))


def _mixtures(seeds_CS: FloatArray) -> tuple[Mixtures, float]:
    """Mixtures of the seeds of a row, and the variance of their mean that these leave out: all of it where the seeds are many."""
    n_seeds = seeds_CS.shape[1]
    if n_seeds <= _MOST_SEEDS:
        return Mixtures.of(n_seeds), 0.0
    # Of multinomial weights w: E[w_s^2] exceeds E[w_s w_t] by 1 / S^2, which also lets each seed's own noise over users through.
    own_noise = float(seeds_CS.var(axis=0).sum() - seeds_CS.sum(axis=1).var() / n_seeds) / n_seeds**2 / len(seeds_CS)
    return Mixtures(np.full((1, n_seeds), 1 / n_seeds), np.ones(1)), float(seeds_CS.mean(axis=0).var()) / n_seeds + own_noise
