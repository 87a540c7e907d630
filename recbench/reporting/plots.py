"""Pictures of runs and boards, drawn without a screen."""

import csv
import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbench.core.errors import BadRequest
from recbench.core.records import CURVE_FILE
from recbench.evaluation import CODES_FILE, CodeTable, read_codes
from recbench.reporting.archive import StoredRun
from recbench.reporting.board import Board, BoardRow, Section, protocol_title
from recbench.reporting.codes import CodeReport, code_report
from recbench.reporting.comparison import Comparison
from recbench.reporting.domination import domination_report
from recbench.reporting.grids import metric_title
from recbench.tasks import Task, find_task

BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#8a8f98"
_LEVEL_COLORS = (BLUE, ORANGE, "#2f855a", "#6b46c1")
_MARKERS = "osD^v<>ph*"
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": GREY,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "font.size": 9,
    "figure.dpi": 150,
}
_ROW_HEIGHT = 0.28
_LEAST_SECONDS = 1e-2
"""Training that only counts takes no time to speak of; a logarithmic axis needs some."""
_NEAR_DECADES = 0.7
_TITLE_WIDTH = 60
"""Characters; a longer line would run into the picture beside it."""


def plot_run(folder: Path, path: Path | None = None) -> Path:
    """Training loss and validation over steps, and the main metric by group of users; gives the picture's path.

    Args:
        folder: a run folder.
        path: of the PNG; `plot.png` in the folder by default.
    """
    run = StoredRun.open(folder)
    record = run.record
    curve = _read_curve(run)
    task = find_task(record.task)
    bars = [part for part in record.slices if part.view == task.main_view and task.main_metric in part.metrics]
    with _figure(11.0, max(3.6, 1.2 + _ROW_HEIGHT * len(bars))) as (figure, save):
        figure.get_layout_engine().set(wspace=0.05)
        curve_axes, slice_axes = figure.subplots(1, 2, width_ratios=(1.1, 1))
        _draw_curve(curve_axes, curve, task)
        _draw_slices(slice_axes, bars, record.metrics.get(task.main_view, {}).get(task.main_metric), task)
        figure.suptitle(
            f"{record.model.row_name} on {record.dataset.title}, {protocol_title(record.protocol)}, seed {record.seed}", fontsize=10
        )
        return save(path or folder / "plot.png")


def plot_codes(folder: Path, path: Path | None = None) -> Path:
    """How evenly items spread over the codes of each level, and how well prefixes agree with categories; gives the picture's path.

    Args:
        folder: a run folder; published records lack the codes themselves.
        path: of the PNG; `codes.png` in the folder by default.

    Raises:
        BadRequest: the run's model has no codes.
        BadData: its file is missing or damaged.
    """
    run = StoredRun.open(folder)
    record = run.record
    report = code_report(record)
    table = read_codes(run.path(CODES_FILE))
    with _figure(11.0, 3.8) as (figure, save):
        use_axes, purity_axes = figure.subplots(1, 2, width_ratios=(1.1, 1))
        _draw_use(use_axes, table, report)
        _draw_purity(purity_axes, report)
        figure.suptitle(f"Item codes of {record.model.row_name} on {record.dataset.title}, seed {record.seed}", fontsize=10)
        return save(path or folder / "codes.png")


def plot_domination(folder: Path, path: Path | None = None) -> Path:
    """Every space by how much its neighbours are those of behaviour and of text; gives the picture's path.

    Args:
        folder: a run folder.
        path: of the PNG; `domination.png` in the folder by default.

    Raises:
        BadRequest: the run's model named no spaces.
    """
    record = StoredRun.open(folder).record
    report = domination_report(record)
    with _figure(6.0, 4.8) as (figure, save):
        axes = figure.subplots()
        most = max([report.chance, *(value for space in report.spaces for value in (space.overlap_collaborative, space.overlap_semantic))])
        axes.plot([0, most], [0, most], color=GREY, linewidth=0.8)
        # Spaces that lie on top of each other are told apart by the shape and by the legend, where no two names overlap.
        for space, (marker, color) in zip(report.spaces, itertools.product(_MARKERS, (BLUE, ORANGE)), strict=False):
            label = f"{space.name} ({space.index:+.2f})"
            place = space.overlap_collaborative, space.overlap_semantic
            axes.plot(*place, marker=marker, markersize=7, color=color, fillstyle="none", linestyle="none", label=label)
        axes.set_xlabel("nearest items shared with behaviour")
        axes.set_ylabel("nearest items shared with text")
        axes.set_title("Above the line text decides, below it behaviour")
        axes.set_xlim(-0.03 * most, 1.03 * most)
        axes.set_ylim(-0.03 * most, 1.03 * most)
        axes.legend(loc="lower right")
        figure.suptitle(f"{record.model.row_name} on {record.dataset.name}, seed {record.seed}", fontsize=10)
        return save(path or folder / "domination.png")


def plot_board(board: Board, path: Path) -> Path:
    """The main metric of every row with its interval, and against the seconds of training, a line of pictures per protocol."""
    return plot_sections(board.sections, path)


def plot_comparison(comparison: Comparison, path: Path) -> Path:
    """The same for a comparison, a line of pictures per data set."""
    return plot_sections(comparison.sections, path)


def plot_sections(sections: Sequence[Section], path: Path) -> Path:
    """One line of two pictures per section, written to `path` (PNG).

    Raises:
        BadRequest: no row was ranked in the main view.
    """
    drawn = [
        (section, ranked)
        for section in sections
        if (ranked := [row for row in section.rows if row.row.main(section.task.main_view) is not None])
    ]
    if not drawn:
        raise BadRequest("There is no row with the view keep to plot. Run a model with --seen both first.")
    heights = [1.5 + _ROW_HEIGHT * len(rows) for _, rows in drawn]
    heights = [max(2.6, height) for height in heights]
    with _figure(11.0, sum(heights)) as (figure, save):
        all_axes = figure.subplots(len(drawn), 2, squeeze=False, height_ratios=heights)
        for (section, rows), (interval_axes, cost_axes) in zip(drawn, all_axes, strict=True):
            _draw_intervals(interval_axes, section, rows)
            _draw_costs(cost_axes, section, rows)
        return save(path)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Callable[[Path], Path]]]:
    """A figure of so many inches in our style, and a function that saves it."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def save(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the version of the library in it: equal records give equal files.
        figure.savefig(path, metadata={"Software": None})
        return path

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, save


def _read_curve(run: StoredRun) -> dict[str, list[tuple[float, float]]]:
    """Per column of `curve.csv` the points (step, value) that were measured."""
    names = [part.name for part in run.record.files]
    if CURVE_FILE not in names:
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    with run.path(CURVE_FILE).open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            for name, value in line.items():
                if value and name != "step":
                    points.setdefault(name, []).append((float(line["step"]), float(value)))
    return points


def _draw_curve(axes: Any, curve: dict[str, list[tuple[float, float]]], task: Task) -> None:
    metric = task.validation_metrics[0]
    loss, quality = curve.get("loss", []), curve.get(metric, [])
    axes.set_title("Training")
    if not loss and not quality:
        axes.text(0.5, 0.5, "no training curve:\nthis model only counts", ha="center", va="center", color=GREY, transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.set_xlabel("optimiser step")
    if loss:
        axes.plot(*zip(*loss, strict=True), color=GREY, linewidth=1.2)
        axes.set_ylabel("training loss", color=GREY)
        axes.tick_params(axis="y", colors=GREY)
    if quality:
        right = axes.twinx() if loss else axes
        right.plot(*zip(*quality, strict=True), color=BLUE, linewidth=1.5, marker="o", markersize=3)
        right.set_ylabel(f"validation {metric_title(metric)}, {task.validation_view}", color=BLUE)
        right.tick_params(axis="y", colors=BLUE)
        right.set_ylim(bottom=0)
        if loss:
            right.spines["right"].set_visible(True)


def _draw_slices(axes: Any, bars: Sequence[Any], overall: Any, task: Task) -> None:
    axes.set_title(f"Test {task.words.units} by group")
    if not bars:
        axes.set_axis_off()
        return
    places = list(range(len(bars)))
    values = [bar.metrics[task.main_metric] for bar in bars]
    axes.barh(places, [part.value for part in values], color=BLUE, alpha=0.75, height=0.7)
    errors = [[max(0.0, part.value - part.low) for part in values], [max(0.0, part.high - part.value) for part in values]]
    axes.errorbar([part.value for part in values], places, xerr=errors, fmt="none", ecolor="black", elinewidth=0.8)
    axes.set_yticks(places, [f"{bar.slice}: {bar.group} ({bar.n:,})" for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{task.main_title}, {task.main_view}, with 95 % interval")
    if overall is not None:
        axes.axvline(overall.value, color=ORANGE, linewidth=1, linestyle="--", label=f"all {task.words.units}")
        axes.legend(loc="lower right")


def _draw_use(axes: Any, table: CodeTable, report: CodeReport) -> None:
    """Per level a staircase: the items of each code, the most common code first."""
    axes.set_title("Items per code, the most common code first")
    for place, level in enumerate(report.levels):
        counts = sorted(table.counts(place).tolist(), reverse=True)
        label = f"level {level.level}: {level.used:,} of {level.size:,} used" + (", tells apart" if level.is_extra else "")
        color = GREY if level.is_extra else _LEVEL_COLORS[place % len(_LEVEL_COLORS)]
        axes.stairs(counts, range(len(counts) + 1), color=color, label=label, linewidth=1.3, linestyle="--" if level.is_extra else "-")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("code")
    axes.set_ylabel("items")
    axes.legend(loc="upper right")


def _draw_purity(axes: Any, report: CodeReport) -> None:
    axes.set_title("Items in the main category of their prefix")
    lines = [(level.level, level.purity, level.purity_random) for level in report.levels if level.purity is not None]
    if not lines:
        axes.text(0.5, 0.5, "the data set has no categories", ha="center", va="center", color=GREY, transform=axes.transAxes)
        axes.set_axis_off()
        return
    depths, purity, at_random = zip(*lines, strict=True)
    axes.plot(depths, purity, color=BLUE, marker="o", markersize=4, label="codes")
    axes.plot(depths, at_random, color=GREY, marker="o", markersize=4, linestyle="--", label="the same groups, items shuffled")
    axes.set_xticks(depths)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("length of the prefix")
    axes.set_ylabel("share of items")
    axes.legend(loc="lower right")


def _draw_intervals(axes: Any, section: Section, rows: Sequence[BoardRow]) -> None:
    task = section.task
    for place, board_row in enumerate(rows):
        for view, color, offset in zip(task.views, (BLUE, ORANGE), (-0.12, 0.12), strict=False):
            figure = board_row.row.figure(task.main_metric, view)
            if figure is not None:
                errors = [[max(0.0, figure.value - figure.low)], [max(0.0, figure.high - figure.value)]]
                label = view if place == 0 else None
                axes.errorbar(figure.value, place + offset, xerr=errors, fmt="o", color=color, markersize=4, elinewidth=1.2, label=label)
    axes.set_yticks(range(len(rows)), [board_row.row.label for board_row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"test {task.main_title} with 95 % interval")
    lines = (line for part in (section.dataset.title, section.title) for line in textwrap.wrap(part, _TITLE_WIDTH))
    axes.set_title("\n".join(lines))
    # The best row stands on top, so the upper left corner is free.
    axes.legend(loc="upper left")


def _draw_costs(axes: Any, section: Section, rows: Sequence[BoardRow]) -> None:
    task = section.task
    points = []
    drawn = []
    for board_row in rows:
        figure, spent = board_row.row.figure(task.main_metric, task.main_view), board_row.row.cost
        if figure is not None and spent is not None:
            drawn.append(board_row)
            points.append((max(spent.train_s, _LEAST_SECONDS), figure.value))
            axes.plot(*points[-1], "o", color=BLUE, fillstyle="none" if spent.is_shared else "full", markersize=5, clip_on=False)
    top = 1.15 * max((value for _, value in points), default=0.0) or 1.0
    for board_row, point, height in zip(drawn, points, _label_heights(points, 0.06 * top), strict=True):
        axes.annotate(board_row.row.label, (point[0], height), xytext=(6, 0), textcoords="offset points", fontsize=7, va="center")
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_ylim(0, top)
    axes.grid(color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("training, seconds (log scale; hollow: several runs shared the machine)")
    axes.set_ylabel(f"test {task.main_title}, {task.main_view}")
    axes.set_title("Quality against cost")


def _label_heights(points: Sequence[tuple[float, float]], gap: float) -> list[float]:
    """Place of each label: at its point, or lower where a label nearby is in the way. Points come highest first."""
    heights: list[float] = []
    for index, (seconds, value) in enumerate(points):
        near = [
            height for (other, _), height in zip(points[:index], heights, strict=True) if abs(math.log10(other / seconds)) < _NEAR_DECADES
        ]
        heights.append(min([value, *(height - gap for height in near)]))
    return heights
