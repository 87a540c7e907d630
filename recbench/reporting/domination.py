"""Words of a record about which of text and behaviour decides where items lie."""

from dataclasses import dataclass

from recbench.core.errors import BadRequest
from recbench.core.records import RunRecord

PREFIX = "domination_"
"""Beginning of the names of these figures in a record's diagnostics; `evaluation.domination` says what each one is."""


@dataclass(frozen=True)
class SpaceFigures:
    """One space, held against the plain vectors of behaviour and of text.

    Attributes:
        name: of the space; `quantised` is the one that became codes.
        overlap_collaborative, overlap_semantic: shares of the nearest items that are those of the reference.
        index: +1: text decides; -1: behaviour does.
        cka_collaborative, cka_semantic: linear kernel alignment with the reference.
        text_variance: the share of the variance that lies in the half of the text; None where there are no halves.
    """

    name: str
    overlap_collaborative: float
    overlap_semantic: float
    index: float
    cka_collaborative: float
    cka_semantic: float
    text_variance: float | None = None


@dataclass(frozen=True)
class DominationReport:
    """All figures of a run.

    Attributes:
        chance: what any overlap would be of spaces that have nothing to do with each other.
        overlap_of_references: of behaviour and text themselves.
        spaces: by name.
        nmi_collaborative, nmi_semantic: how much the first token of the codes says about the cluster of an item in the reference, between 0
            and 1; None where there are no codes.
    """

    chance: float
    overlap_of_references: float
    spaces: tuple[SpaceFigures, ...]
    nmi_collaborative: float | None = None
    nmi_semantic: float | None = None


def has_spaces(record: RunRecord) -> bool:
    """Whether the run's model named spaces to compare."""
    return f"{PREFIX}chance" in record.diagnostics


def domination_report(record: RunRecord) -> DominationReport:
    """The figures of a record; a `BadRequest` where its model named no spaces."""
    if not has_spaces(record):
        raise BadRequest(
            f"{record.run_id} compares no spaces of item vectors: {record.model.row_name} names none. Choose a run of a model that makes "
            "one vector of behaviour and text."
        )
    figures = record.diagnostics
    names = [name.removeprefix(f"{PREFIX}index:") for name in figures if name.startswith(f"{PREFIX}index:")]
    spaces = tuple(
        SpaceFigures(
            name=name,
            overlap_collaborative=figures[f"{PREFIX}overlap_collaborative:{name}"],
            overlap_semantic=figures[f"{PREFIX}overlap_semantic:{name}"],
            index=figures[f"{PREFIX}index:{name}"],
            cka_collaborative=figures[f"{PREFIX}cka_collaborative:{name}"],
            cka_semantic=figures[f"{PREFIX}cka_semantic:{name}"],
            text_variance=figures.get(f"{PREFIX}text_variance:{name}"),
        )
        for name in sorted(names)
    )
    return DominationReport(
        chance=figures[f"{PREFIX}chance"],
        overlap_of_references=figures[f"{PREFIX}overlap_of_references"],
        spaces=spaces,
        nmi_collaborative=figures.get(f"{PREFIX}nmi_collaborative"),
        nmi_semantic=figures.get(f"{PREFIX}nmi_semantic"),
    )
