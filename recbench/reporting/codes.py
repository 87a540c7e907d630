"""Words of a record about the item codes of its model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from recbench.core.errors import BadRequest
from recbench.core.ranking import VIEWS, View
from recbench.core.records import Interval, RunRecord

PREFIX = "codes_"
"""Beginning of the names of these figures in a record's diagnostics; `evaluation.code_statistics` says what each one is."""


@dataclass(frozen=True)
class LevelFigures:
    """One level of the codes, from 1.

    Attributes:
        size: how many values it may take.
        used: how many it takes; `usage` is that as a share.
        entropy: of the values, in bits; `perplexity` is 2 to that many bits: so many equally common values would have it.
        prefixes: different beginnings of codes of this length.
        items_per_prefix: mean.
        largest_prefix: items of the most common beginning; None in records made before it was counted.
        purity: share of items whose category is the most common one under their prefix; None where categories are unknown.
        purity_random: the same with categories dealt out at random.
        unexplained: share of the vectors' variance that the levels up to this one left over; None where it is unknown, or the level
            only tells items apart.
        is_extra: whether it does.
    """

    level: int
    size: int
    used: int
    usage: float
    entropy: float
    perplexity: float
    prefixes: int
    items_per_prefix: float
    largest_prefix: int | None
    purity: float | None
    purity_random: float | None
    unexplained: float | None
    is_extra: bool


@dataclass(frozen=True)
class LevelScores:
    """One metric of one view at code level and at item level, means over users; see `recbench.evaluation.code_levels`.

    Attributes:
        metric: such as `recall@10`.
        view: which lists.
        sid: a hit on the target's code is a hit, and a code takes one place.
        item: as the lists stand, which is the metric of boards.
        item_random, item_by_row, item_worst, item_best: the items of a code in random order, by row, the target last, the target first.
        inflation: `sid` over `item_random`; None where that is 0.
        undecided: users for whom the list ended before it said whether the target's code is among the first k; they count as misses.
    """

    metric: str
    view: View
    sid: float
    item: float
    item_random: float
    item_by_row: float
    item_worst: float
    item_best: float
    inflation: float | None
    undecided: int


@dataclass(frozen=True)
class CodeReport:
    """All figures about the codes of a run; None stands for what the codes do not have, or was not counted when the record was made.

    Attributes:
        items: in the catalogue.
        levels: first to last.
        distinct: different codes without the levels, or the numbers, that only tell items apart.
        colliding_share: share of items that share such a code with another item.
        largest_group: most items of one such code.
        last_nonzero_share: share of items whose last code is not 0: so many could not do without the level that tells them apart.
        is_unique: whether no two whole codes are equal.
        prefix_of_another: items whose whole code is the beginning of a longer one.
        numbered: items whose code ends in a number that only tells them apart, on whatever level; None where a level does that,
            and where nothing does.
        distinct_tokens: of all codes, those numbers left aside; None where each level has tokens of its own.
        repeated: items whose code has a token twice, those numbers left aside; None likewise.
        targets_in_groups: share of the test targets that share such a code with another item.
        mean_1_over_g: mean over the test targets of 1 / (items of the target's code).
        scores: at code level and at item level; empty where a query asks for several items, and in records of before.
    """

    items: int
    levels: tuple[LevelFigures, ...]
    distinct: int
    colliding_share: float
    largest_group: int
    last_nonzero_share: float
    is_unique: bool | None
    prefix_of_another: int | None
    numbered: int | None
    distinct_tokens: int | None
    repeated: int | None
    targets_in_groups: float | None
    mean_1_over_g: float | None
    scores: tuple[LevelScores, ...]


def has_codes(record: RunRecord) -> bool:
    """Whether the run's model has item codes."""
    return f"{PREFIX}levels" in record.diagnostics


def code_report(record: RunRecord) -> CodeReport:
    """The figures of a record; a `BadRequest` where its model has no codes."""
    if not has_codes(record):
        raise BadRequest(
            f"{record.run_id} has no item codes: {record.model.row_name} does not give items codes. Choose a run of a model that does."
        )
    figures = {name.removeprefix(PREFIX): value for name, value in record.diagnostics.items() if name.startswith(PREFIX)}
    items, n_levels, n_extra = (int(figures[name]) for name in ("items", "levels", "extra"))
    levels = tuple(
        LevelFigures(
            level=level,
            size=int(figures[f"size_{level}"]),
            used=int(figures[f"used_{level}"]),
            usage=figures[f"usage_{level}"],
            entropy=figures[f"entropy_{level}"],
            perplexity=figures[f"perplexity_{level}"],
            prefixes=int(figures[f"prefixes_{level}"]),
            items_per_prefix=figures[f"items_per_prefix_{level}"],
            largest_prefix=_count(figures, f"largest_{level}"),
            purity=figures.get(f"purity_{level}"),
            purity_random=figures.get(f"purity_random_{level}"),
            unexplained=figures.get(f"unexplained_{level}"),
            is_extra=level > n_levels - n_extra,
        )
        for level in range(1, n_levels + 1)
    )
    return CodeReport(
        items=items,
        levels=levels,
        distinct=int(figures["distinct"]),
        colliding_share=figures["colliding_share"],
        largest_group=int(figures["largest_group"]),
        last_nonzero_share=figures["last_nonzero_share"],
        is_unique=None if "unique" not in figures else bool(figures["unique"]),
        prefix_of_another=_count(figures, "prefix_of_another"),
        numbered=_count(figures, "numbered"),
        distinct_tokens=_count(figures, "distinct_tokens"),
        repeated=_count(figures, "repeated"),
        targets_in_groups=figures.get("targets_in_groups"),
        mean_1_over_g=figures.get("mean_1_over_g"),
        scores=tuple(level_scores(record)),
    )


def level_scores(record: RunRecord) -> Iterator[LevelScores]:
    """Scores at both levels, by view and in the order of the record's metrics; none in records made before they were measured."""
    figures = record.diagnostics
    for view in VIEWS:
        for metric, interval in record.metrics.get(view, {}).items():
            name = f"{metric}_{view}"
            if f"{PREFIX}sid_{name}" not in figures:
                continue
            yield LevelScores(
                metric=metric,
                view=view,
                sid=figures[f"{PREFIX}sid_{name}"],
                item=interval.value,
                item_random=figures[f"{PREFIX}item_random_{name}"],
                item_by_row=figures[f"{PREFIX}item_by_row_{name}"],
                item_worst=figures[f"{PREFIX}item_worst_{name}"],
                item_best=figures[f"{PREFIX}item_best_{name}"],
                inflation=figures.get(f"{PREFIX}inflation_{name}"),
                undecided=int(figures[f"{PREFIX}undecided@{metric.partition('@')[2]}_{view}"]),
            )


def sid_interval(record: RunRecord, metric: str, view: View) -> Interval | None:
    """A metric at code level with its 95 % interval; None where the record has none."""
    name = f"{PREFIX}sid_{metric}_{view}"
    if name not in record.diagnostics:
        return None
    return Interval(value=record.diagnostics[name], low=record.diagnostics[f"{name}_low"], high=record.diagnostics[f"{name}_high"])


def _count(figures: Mapping[str, float], name: str) -> int | None:
    """A figure that counts something; None where there is none of that name."""
    return None if name not in figures else int(figures[name])
