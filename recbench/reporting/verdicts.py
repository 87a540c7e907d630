"""A measured figure beside the one somebody published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recbench.core.errors import BadRequest
from recbench.core.model_card import ModelCard
from recbench.core.published import Level, Published
from recbench.core.ranking import View
from recbench.core.records import RunRecord
from recbench.evaluation.metrics import METRICS
from recbench.reporting.rows import Figure, Row
from recbench.tasks import find_task

Verdict = Literal["reproduced", "above", "below", "not comparable", "not measured"]
RELATIVE_TOLERANCE = 0.05


@dataclass(frozen=True)
class PublishedFigure:
    """One published number and what we measured.

    Attributes:
        metric: such as `ndcg@10`.
        view: of the source; `unknown` where it does not say.
        level: of the source: whether it compares items, or codes that items may share.
        preset: the preset with the source's settings.
        published: the printed value, a fraction.
        measured: ours in the same view (in the main one where the source's is unknown), at code level where the source's level is `sid`,
            else at item level; None where it was not measured.
        verdict: `reproduced`, `above`, `below`, `not comparable` or `not measured`.
        reason: why it is not comparable or was not measured.
        source, kind: where the number was printed.
    """

    metric: str
    view: View | Literal["unknown"]
    level: Level
    preset: str
    published: float
    measured: float | None
    verdict: Verdict
    reason: str
    source: str
    kind: str


def judge(measured: Figure, published: float) -> Verdict:
    """`reproduced` within 5 % of the published value or where it lies inside our interval, else `above` or `below`."""
    # A four-decimal table must not fail at the edge of the band by a rounding of the last bit.
    band = RELATIVE_TOLERANCE * published + 1e-12
    if abs(measured.value - published) <= band or measured.low <= published <= measured.high:
        return "reproduced"
    return "above" if measured.value > published else "below"


def why_not_comparable(record: RunRecord, published: Published, card: ModelCard) -> str:
    """Differences between a run and the published setting; empty where there is none."""
    if record.model.preset != published.preset:
        return f"preset {record.model.preset}, published with {published.preset}"
    if published.view == "unknown":
        return "view unknown"
    if bare_name(published.backbone) != bare_name(record.model.backbone):
        return f"other backbone: {record.model.backbone or 'none'}, published with {published.backbone or 'none'}"
    other_text = _other_text(record, published)
    if other_text:
        return other_text
    if not find_task(record.task).is_default(record.protocol):
        return f"other split: {record.protocol.split}"
    if record.protocol.ties != "source":
        return f"other order of ties: {record.protocol.ties}"
    if record.budget is not None:
        return f"training bounded to {record.budget}"
    changed = card.changed_settings(record)
    return f"other settings: {', '.join(changed)}" if changed else ""


def bare_name(backbone: str | None) -> str | None:
    """Name of a text encoder or language model wherever it was taken from: no `hf:`, owner, revision, hash or capitals.

    A folder keeps its whole path, for what a folder is called says nothing about what is in it.
    """
    if backbone is None:
        return None
    name = backbone.removeprefix("hf:")
    if name.startswith(("/", ".", "~")):
        return backbone
    return name.partition(" (")[0].partition("@")[0].rpartition("/")[2].lower()


def _other_text(record: RunRecord, published: Published) -> str:
    """How the item text that a run read differs from the source's; empty where it does not."""
    read = record.model.text if record.model.reads_text else ()
    stated = published.text if record.model.reads_text else published.text or ()
    if read is None or stated is None:
        return f"text unknown: {'of this run' if read is None else 'the source does not say which columns it reads'}"
    if set(read) == set(stated):
        return ""
    return f"other text: {', '.join(sorted(read)) or 'none'}, published with {', '.join(sorted(stated)) or 'none'}"


def published_figures(row: Row, card: ModelCard | None) -> list[PublishedFigure]:
    """Every published number for a row's model and data set, in the order of the card, with its verdict."""
    if card is None:
        return []
    return [
        figure
        for published in card.published
        if published.dataset == row.record.dataset.name
        for figure in _figures_of(row, published, card)
    ]


def published_metrics(record: RunRecord, card: ModelCard | None) -> list[str]:
    """Metrics of the published numbers for a record's model and data set."""
    published = [] if card is None else card.published
    return [metric for source in published if source.dataset == record.dataset.name for metric in source.metrics]


def _figures_of(row: Row, published: Published, card: ModelCard) -> Sequence[PublishedFigure]:
    reason = why_not_comparable(row.record, published, card)
    view: View = row.task.main_view if published.view == "unknown" else published.view
    figures = []
    for metric, value in published.metrics.items():
        why = _why_not_measured(row, metric, view, published.level)
        measured = None if why else figure_at_level(row, metric, view, published.level)
        verdict: Verdict = "not measured"
        if measured is not None:
            verdict, why = ("not comparable" if reason else judge(measured, value)), reason
        mean = None if measured is None else measured.value
        stated = (published.view, published.level, published.preset)
        figures.append(PublishedFigure(metric, *stated, value, mean, verdict, why, published.source, published.kind))
    return figures


def figure_at_level(row: Row, metric: str, view: View, level: Level) -> Figure | None:
    """The row's figure that a number of this level stands beside: codes for `sid`, items for all else; None where there is none."""
    return row.code_figure(metric, view) if level == "sid" else row.figure(metric, view)


def _why_not_measured(row: Row, metric: str, view: View, level: Level) -> str:
    """Reason why a published metric has no measured value beside it; empty where it can have one."""
    record = row.record
    try:
        _, k = METRICS.parse(metric)
    except BadRequest:
        return f"there is no metric {metric}"
    if view not in record.metrics:
        return f"the run has no lists of the view {view}"
    if k > record.protocol.list_length:
        return f"lists hold {record.protocol.list_length} places"
    if metric not in record.metrics[view]:
        return f"figures are cut off at {', '.join(map(str, row.task.measures.cutoffs))}"
    if level == "sid" and row.code_figure(metric, view) is None:
        return "the run has no scores at code level"
    return ""
