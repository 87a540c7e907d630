"""Published numbers on trial: each with its level, our figures at both levels and the command that repeats it."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from recbench.core.commands import command_line
from recbench.core.ranking import View
from recbench.reporting.board import BoardRow, Section
from recbench.reporting.codes import PREFIX, has_codes
from recbench.reporting.grids import NOTHING, Grid, metric_title, number, verdict
from recbench.reporting.rows import Row
from recbench.reporting.verdicts import PublishedFigure

_JUDGED = ("reproduced", "above", "below")


@dataclass(frozen=True)
class Case:
    """A published number and the row that speaks for it.

    Attributes:
        figure: the number beside that row.
        view: the view of our figures: that of the number, or the task's main one where its source does not say.
        row: the best row in that view with a verdict; without one the best row of the number's preset, else the best of the model.
    """

    figure: PublishedFigure
    view: View
    row: Row


def cases(section: Section) -> Iterator[Case]:
    """Published numbers of the metrics that a board shows with intervals, by model in the order of the board, then as on its card."""
    by_model: dict[str, list[BoardRow]] = {}
    for board_row in section.rows:
        by_model.setdefault(board_row.row.record.model.name, []).append(board_row)
    for rows in by_model.values():
        # All rows of a model stand beside the same numbers of its card.
        for figures in zip(*(board_row.published for board_row in rows), strict=True):
            if figures[0].metric in section.task.interval_metrics:
                named = figures[0].view
                view = section.task.main_view if named == "unknown" else named
                yield max((Case(figure, view, board_row.row) for figure, board_row in zip(figures, rows, strict=True)), key=_fitness)


def _fitness(case: Case) -> tuple[bool, bool, float]:
    figure, row = case.figure, case.row
    return figure.verdict in _JUDGED, row.record.model.preset == figure.preset, row.mean(figure.metric, case.view) or 0.0


def court(section: Section) -> Grid:
    """A line per published number."""
    numbers = ("Published", "At item level", "At code level")
    header = ("Model", "Metric", "View", "Level", *numbers, "Verdict", "Our row", "Repeat with", "Source")
    rows = []
    for case in cases(section):
        figure, view, row = case.figure, case.view, case.row
        model = row.record.model.name
        code = row.code_figure(figure.metric, view)
        rows.append(
            (
                model,
                metric_title(figure.metric),
                figure.view,
                figure.level,
                number(figure.published),
                number(row.mean(figure.metric, view)),
                number(None if code is None else code.value),
                verdict(figure),
                row.label,
                command_line("run", model=model, dataset=section.dataset.name, preset=figure.preset),
                f"{figure.source} ({figure.kind})",
            )
        )
    return Grid(header, tuple(rows), words=tuple(title for title in header if title not in numbers))


def levels(section: Section, view: View) -> Grid:
    """Rows whose model has item codes: how many items and targets share one, and the scores of one view at both levels."""
    metrics = section.task.interval_metrics
    scores = (f"{metric_title(metric)} {what}" for metric in metrics for what in ("at item level", "at code level", "inflation"))
    rows = []
    for row in (board_row.row for board_row in section.rows if has_codes(board_row.row.record)):
        cells = [_share(row, "colliding_share"), _share(row, "targets_in_groups"), number(_mean(row, "mean_1_over_g"))]
        for metric in metrics:
            code, inflation = row.code_figure(metric, view), _mean(row, f"inflation_{metric}_{view}")
            cells += [
                number(row.mean(metric, view)),
                number(None if code is None else code.value),
                NOTHING if inflation is None else f"{inflation:.3f}",
            ]
        undecided = _mean(row, f"undecided@{section.task.main_cutoff}_{view}")
        rows.append((row.label, *cells, NOTHING if undecided is None else f"{undecided:,.0f}"))
    return Grid(("Model", "Items in groups", "Targets in groups", "Mean 1/g", *scores, "Undecided"), tuple(rows))


def _mean(row: Row, name: str) -> float | None:
    """Mean over seeds of a figure about codes; None where a run of the row has none."""
    found = [run.record.diagnostics[PREFIX + name] for run in row.runs if PREFIX + name in run.record.diagnostics]
    return statistics.fmean(found) if len(found) == len(row.runs) else None


def _share(row: Row, name: str) -> str:
    value = _mean(row, name)
    return NOTHING if value is None else f"{100 * value:.1f} %"
