"""Words of a record about the item codes of its model."""

from collections.abc import Mapping
from dataclasses import dataclass

from recbench.core.errors import BadRequest
from recbench.core.records import RunRecord

PREFIX = "codes_"
"""Beginning of the names of these figures in a record's diagnostics; `evaluation.code_figures` says what each one is."""


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
        numbered: items whose code ends in a number that only tells them apart, on whatever level; None where a level does that.
        distinct_tokens: of all codes, those numbers left aside; None where each level has tokens of its own.
        repeated: items whose code has a token twice, those numbers left aside; None likewise.
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
    )


def _count(figures: Mapping[str, float], name: str) -> int | None:
    """A figure that counts something; None where there is none of that name."""
    return None if name not in figures else int(figures[name])
