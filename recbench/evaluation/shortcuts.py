"""What a test part can be solved by without learning, told from the split alone: the figures of a shortcut card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.interactions import UNKNOWN_TIME, Interactions
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.core.seeds import frozen_generator
from recbench.evaluation.facts import TargetFacts, steps_of, targets_part

# I items, n targets, N steps

_LATE = 0.1
"""Share of the train events that count as its end."""
_DRAWS = 5
_SEED = 0
_FloatArray = NDArray[np.float64]
Relation = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class NextItemEntropy:
    """How uncertain the next item is, in bits, with and without knowledge of the last one.

    A step is two items that follow each other in the train part. The entropies are those of counts of steps: plug-in, and corrected as
    Miller and Madow do (Miller 1955, "Note on the bias of information estimates"), by (outcomes seen - 1) / 2N nats. Both are too low
    where most pairs were seen once (Paninski 2003, Neural Computation 15:1191): they are lower bounds, and `unseen` says how weak ones.
    The cross-entropies are upper bounds: the bits per target of predictions from the train part alone.

    Attributes:
        n_steps: N.
        unseen: share of steps whose pair was seen once: the estimate of Good and Turing for the probability that the next step is a pair
            never seen (Good 1953, Biometrika 40:237).
        item, item_plug_in: entropy of a step's second item.
        given_last, given_last_plug_in: the same given the first item.
        target_by_counts: cross-entropy of the targets under the train counts of items, one added to each.
        target_by_pairs: under the counts of pairs with the last item of the history, smoothed with those of items as Witten and Bell do
            (1991, IEEE Transactions on Information Theory 37:1085, method C).
    """

    n_steps: int
    unseen: float
    item: float
    item_plug_in: float
    given_last: float
    given_last_plug_in: float
    target_by_counts: float
    target_by_pairs: float


@dataclass(frozen=True)
class BesideChance:
    """A figure, and what it is where chance alone decides."""

    value: float
    by_chance: float


@dataclass(frozen=True)
class ShortcutCard:
    """What a test part can be solved by without learning.

    Attributes:
        n_targets: targets of the test part.
        relations: share of the targets by their relation to the last item of the history, and by chance where the targets are dealt out to
            the queries anew: in dense data most items are two steps from most others. Either sums to 1.
        entropy: of the next item; None where no two events follow each other in the train part.
        repeated: share of the targets that the history holds.
        tied: share of the targets that share their time with the event before; None where times are unknown.
        cold: share of the targets whose item has no event in the train part.
        target_drift: total variation distance between the shares that items have of the targets and of the train events, 0 where equal and
            1 where no item is in both; by chance where as many events are drawn from both together, as small samples differ anyway.
        late_drift: the same of the latest tenth of the train events of known time and the others; None where fewer than ten are known.
    """

    n_targets: int
    relations: Mapping[str, BesideChance]
    entropy: NextItemEntropy | None
    repeated: float
    tied: float | None
    cold: float
    target_drift: BesideChance
    late_drift: BesideChance | None

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Label and value, ready to print."""
        return [
            ("test targets", f"{self.n_targets:,}"),
            *((f"{name} (by chance)", f"{share.value:.1%} ({share.by_chance:.1%})") for name, share in self.relations.items()),
            *_entropy_rows(self.entropy),
            ("targets in the history", _percent(self.repeated)),
            ("targets tied with the event before", _percent(self.tied)),
            ("targets never seen in train", _percent(self.cold)),
            ("drift, targets against train events (by chance)", _drift(self.target_drift)),
            ("drift, latest tenth of train against the rest (by chance)", _drift(self.late_drift)),
        ]


def _entropy_rows(entropy: NextItemEntropy | None) -> list[tuple[str, str]]:
    if entropy is None:
        return [("steps in train", "0")]
    return [
        ("steps in train", f"{entropy.n_steps:,}"),
        ("steps whose pair was seen once", _percent(entropy.unseen)),
        ("entropy of the next item, bits, at least", f"{entropy.item:.2f}"),
        ("given the last item, bits, at least", f"{entropy.given_last:.2f}"),
        ("bits per target, by counts of items", f"{entropy.target_by_counts:.2f}"),
        ("bits per target, by counts of pairs", f"{entropy.target_by_pairs:.2f}"),
    ]


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def _drift(drift: BesideChance | None) -> str:
    return "unknown" if drift is None else f"{drift.value:.3f} ({drift.by_chance:.3f})"


def shortcut_card(
    train: Interactions, histories: Histories, targets: Targets, facts: TargetFacts, relation: Relation, dealt: Relation
) -> ShortcutCard:
    """The card of a test part.

    Args:
        train: the train part.
        histories: (B,) what each query knows.
        targets: (B,) what each query is asked for.
        facts: about the targets, (n,).
        relation: by name which targets stand in a relation to the last item, (n,) bool; each stands in one.
        dealt: the same of the targets that `dealt_anew` gives.
    """
    part = targets_part(facts, 0)
    n = max(len(facts), 1)
    return ShortcutCard(
        n_targets=part.n_targets,
        relations={name: BesideChance(int(holds.sum()) / n, int(dealt[name].sum()) / n) for name, holds in relation.items()},
        entropy=next_item_entropy(train, histories, targets),
        repeated=part.share_in_history,
        tied=part.share_tied,
        cold=part.n_cold / n,
        target_drift=drift(targets.item, train.item, train.n_items),
        late_drift=late_drift(train),
    )


def dealt_anew(targets: Targets) -> Targets:
    """The same targets, dealt out to the queries at random: what a query is asked for has nothing to do with its history."""
    return Targets(frozen_generator(_SEED, "deal").permutation(targets.item), targets.offsets)


def next_item_entropy(train: Interactions, histories: Histories, targets: Targets) -> NextItemEntropy | None:
    """How uncertain the next item is; None where no two events follow each other in the train part."""
    pair, count_of_pair = np.unique(steps_of(train), return_counts=True)
    if not len(pair):
        return None
    first, second = np.divmod(pair, train.n_items)
    n_steps = int(count_of_pair.sum())
    count_of_first, count_of_second = (np.bincount(item, count_of_pair, train.n_items).astype(np.int64) for item in (first, second))
    pairs, firsts, seconds = (_entropy(counts) for counts in (count_of_pair, count_of_first, count_of_second))
    correction = 1 / (2 * n_steps * np.log(2))
    n_first, n_second = (np.count_nonzero(counts) for counts in (count_of_first, count_of_second))
    by_counts = (train.item_counts() + 1) / (len(train.item) + train.n_items)
    target_n, last_n = targets.item.astype(np.int64), histories.last_items()[targets.row_of_entry()]
    followers_I = np.bincount(first, minlength=train.n_items)
    by_pairs = _smoothed(
        by_counts[target_n], last_n, _counts_of(pair, count_of_pair, last_n * train.n_items + target_n), count_of_first, followers_I
    )
    return NextItemEntropy(
        n_steps=n_steps,
        unseen=int(np.count_nonzero(count_of_pair == 1)) / n_steps,
        item=seconds + (n_second - 1) * correction,
        item_plug_in=seconds,
        # H(first, second) - H(first), each corrected.
        given_last=pairs - firsts + (len(pair) - n_first) * correction,
        given_last_plug_in=pairs - firsts,
        target_by_counts=_mean_bits(by_counts[target_n]),
        target_by_pairs=_mean_bits(by_pairs),
    )


def _entropy(counts: NDArray[np.number]) -> float:
    """Plug-in entropy of counts, in bits."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _counts_of(pair: LongArray, count: LongArray, asked: LongArray) -> LongArray:
    """How often each asked pair was counted; `pair` is sorted."""
    place = np.minimum(np.searchsorted(pair, asked), len(pair) - 1)
    return np.where(pair[place] == asked, count[place], 0)


def _smoothed(prior_n: _FloatArray, last_n: LongArray, count_n: LongArray, total_I: LongArray, kinds_I: LongArray) -> _FloatArray:
    """Probability of each target after its last item: counts of pairs, and as many prior draws as there are kinds of followers."""
    is_known = (last_n >= 0) & (total_I[last_n] > 0)
    total_n, kinds_n = np.where(is_known, total_I[last_n], 0), np.where(is_known, kinds_I[last_n], 1)
    smoothed: _FloatArray = (np.where(is_known, count_n, 0) + kinds_n * prior_n) / (total_n + kinds_n)
    return smoothed


def _mean_bits(probability: _FloatArray) -> float:
    return float(-np.log2(probability).mean()) if len(probability) else 0.0


def drift(item: IntArray, other: IntArray, n_items: int) -> BesideChance:
    """How far the items of some events and those of others, at least one each, are apart; see `ShortcutCard.target_drift`."""
    pool = np.concatenate([item, other])
    total_I = np.bincount(pool, minlength=n_items)

    def distance(some: IntArray) -> float:
        some_I = np.bincount(some, minlength=n_items)
        return float(np.abs(some_I / len(item) - (total_I - some_I) / len(other)).sum() / 2)

    rng = frozen_generator(_SEED, "drift")
    return BesideChance(distance(item), float(np.mean([distance(rng.permutation(pool)[: len(item)]) for _ in range(_DRAWS)])))


def late_drift(train: Interactions) -> BesideChance | None:
    """How far the latest tenth of the train events is from the rest; see `ShortcutCard.late_drift`. Equal times stand by user."""
    if train.seconds is None:
        return None
    known = np.flatnonzero(train.seconds != UNKNOWN_TIME)
    item = train.item[known[np.argsort(train.seconds[known], kind="stable")]]
    n_late = int(_LATE * len(item))
    return drift(item[-n_late:], item[:-n_late], train.n_items) if n_late else None
