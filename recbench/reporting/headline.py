"""The headline: on each data set the best row of each kind of model, beside the best published number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recbench.core.ranking import View
from recbench.reporting.board import Board, Section
from recbench.reporting.grids import NOTHING, Grid, level_title, number, with_interval
from recbench.reporting.rows import Figure, Row
from recbench.reporting.verdicts import PublishedFigure
from recbench.tasks import Task

UNTRAINED, SCORING, GENERATIVE = KINDS = ("untrained", "scoring", "generative")
"""Kinds of models that compete: no weight was trained, every item gets a score, item codes or words are generated."""
FOREIGN = "foreign"
"""Kind of lists that another toolkit made: nobody here knows what made them."""


@dataclass(frozen=True)
class Headline:
    """The best of each kind on one data set in one view, under the first protocol of its board.

    Attributes:
        dataset, view: which.
        protocol: title of the section.
        best: by kind, the label of the row with the highest main metric and that figure; kinds without a row are absent.
        published: the highest published main metric that compares items, or does not say what it compares; None where there is none.
        published_model: the model that it was published for; empty where there is none.
    """

    dataset: str
    view: View
    protocol: str
    best: Mapping[str, tuple[str, Figure]]
    published: PublishedFigure | None
    published_model: str

    @property
    def ahead(self) -> list[str]:
        """Kinds with the highest figure; several where they are equal."""
        top = max((figure.value for _, figure in self.best.values()), default=None)
        return [kind for kind, (_, figure) in self.best.items() if figure.value == top]


def kind_of(row: Row) -> str:
    """One of `KINDS`, or `FOREIGN`."""
    record = row.record
    if record.foreign is not None:
        return FOREIGN
    return UNTRAINED if record.model.is_trivial or record.fit.parameters_trainable == 0 else record.model.family


def kind_title(kind: str, task: Task) -> str:
    """What the models of a kind are called in a task: those that score items are `sequential` where histories are read."""
    return task.words.scoring if kind == SCORING else kind


def headlines(boards: Sequence[Board], task: Task, view: View) -> list[Headline]:
    """A headline for each data set of a task, in the order of the boards."""
    return [_headline(board.name, section, view) for board in boards for section in board.sections[:1] if section.task is task]


def _headline(dataset: str, section: Section, view: View) -> Headline:
    metric = section.task.main_metric
    best: dict[str, tuple[str, Figure]] = {}
    for row in (board_row.row for board_row in section.rows):
        kind, figure = kind_of(row), row.figure(metric, view)
        if kind in KINDS and figure is not None and (kind not in best or figure.value > best[kind][1].value):
            best[kind] = (row.label, figure)
    views = {view, "unknown"} if view == section.task.main_view else {view}
    published = [
        (figure, board_row.row.record.model.name)
        for board_row in section.rows
        for figure in board_row.published
        if figure.metric == metric and figure.view in views and figure.level != "sid"
    ]
    found, model = max(published, key=lambda pair: (pair[0].published, pair[1]), default=(None, ""))
    return Headline(dataset, view, section.title, {kind: best[kind] for kind in KINDS if kind in best}, found, model)


def headline_line(found: Sequence[Headline], task: Task) -> str:
    """On how many data sets each kind is ahead of the others, in sentences; empty without a data set."""
    if not found:
        return ""
    contested = [one for one in found if len(one.best) > 1]
    parts = []
    for kind in KINDS:
        n_there, n_ahead = (
            sum(kind in kinds for kinds in part) for part in ([one.best for one in contested], [one.ahead for one in contested])
        )
        title = kind_title(kind, task)
        if n_there:
            parts.append(f"{'an' if title[0] in 'aeiou' else 'a'} {title} model on {n_ahead} of {n_there}")
    alone = len(found) - len(contested)
    told = (
        f"Where several kinds of models were run, the highest {task.main_title} (view {found[0].view}) is that of {_listed(parts)}."
        if parts
        else ""
    )
    rest = f"On {alone} {'more ' if parts else ''}data set{'s' if alone > 1 else ''} one kind alone was run." if alone else ""
    return " ".join(filter(None, [told, rest]))


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def published_text(found: Headline) -> str:
    """The best published number with its model, and with its level where that is not known; an en dash where there is none."""
    if found.published is None:
        return NOTHING
    level = "" if found.published.level == "item" else f", {level_title(found.published.level)}"
    return f"{number(found.published.published)} {found.published_model}{level}"


def best_of_kinds(found: Sequence[Headline], task: Task) -> Grid:
    """A line per data set with the best row of each kind and the best published number."""
    header = ("Data set", *(f"Best {kind_title(kind, task)}" for kind in KINDS), "Best published")
    rows = []
    for one in found:
        cells = (f"{with_interval(one.best[kind][1])} {one.best[kind][0]}" if kind in one.best else NOTHING for kind in KINDS)
        rows.append((one.dataset, *cells, published_text(one)))
    return Grid(header, tuple(rows), words=header)
