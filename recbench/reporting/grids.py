"""A board's figures as tables of text: what pages, terminal and LaTeX print, four decimals, an en dash where there is nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recbench.core.published import Level
from recbench.core.ranking import View
from recbench.core.records import CostPart, StagePart
from recbench.evaluation.metrics import METRICS
from recbench.reporting.board import Board, BoardRow, Section
from recbench.reporting.rows import Cost, Figure, Row, code_version, machine
from recbench.reporting.standing import Standings
from recbench.reporting.verdicts import PublishedFigure

NOTHING = "–"
BEYOND = ("coverage@10", "gini@10", "entropy@10", "popularity_lift@10", "tail_share@10", "novelty@10")
HASH_DIGITS = 16
CONFIG_DIGITS = 12
_MIB = 1 << 20
DAGGER = "†"
"""Marks figures of cost that were measured while several runs shared the machine."""


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        header: names of the columns.
        rows: cells, each row as long as the header.
        words: columns that hold words; the others hold numbers and stand at the right of their column.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ("Model",)


def metric_title(metric: str) -> str:
    """`NDCG@10` for `ndcg@10`."""
    return METRICS.title(metric)


def interval_title(metric: str) -> str:
    """Title of a column that shows a metric with its interval."""
    return f"{metric_title(metric)} [95 %]"


def number(value: float | None) -> str:
    """Four decimals."""
    return NOTHING if value is None else f"{value:.4f}"


def with_std(row: Row, metric: str, view: View) -> str:
    """The mean, and its standard deviation where there are several seeds."""
    std = row.std(metric, view)
    return number(row.mean(metric, view)) + (f" ± {std:.4f}" if std is not None else "")


def with_interval(figure: Figure | None) -> str:
    """Mean, standard deviation over seeds if any, and the 95 % interval."""
    if figure is None:
        return NOTHING
    std = f" ± {figure.std:.4f}" if figure.std is not None else ""
    return f"{figure.value:.4f}{std} [{figure.low:.4f}, {figure.high:.4f}]"


def targets_line(section: Section) -> str:
    """Size and peculiarities of the test part, in sentences."""
    words, record = section.task.words, section.rows[0].row.record
    return " ".join(filter(None, [words.targets(record.targets), words.divided(record.notes)]))


def accuracy(section: Section, view: View) -> Grid:
    """The metrics of each row in one view, the published main metric of that view, marks; then the missing baselines."""
    task = section.task
    header = (
        "#",
        "Model",
        *(interval_title(metric) if metric in task.interval_metrics else metric_title(metric) for metric in task.board_metrics),
        f"Published {task.main_title}",
        "Notes",
    )
    rows = [
        (
            str(place),
            board_row.row.label,
            *(_cell(board_row.row, metric, view) for metric in task.board_metrics),
            _published_main(board_row, view),
            "; ".join(board_row.marks(view)),
        )
        for place, board_row in enumerate(section.rows, start=1)
    ]
    blank = (NOTHING,) * len(task.board_metrics)
    missing = [(NOTHING, baseline.model, *blank, NOTHING, f"{baseline.state}: {baseline.reason}") for baseline in section.missing]
    return Grid(header, (*rows, *missing), words=("#", "Model", "Notes"))


def _cell(row: Row, metric: str, view: View) -> str:
    return with_interval(row.figure(metric, view)) if metric in row.task.interval_metrics else with_std(row, metric, view)


def _published_main(board_row: BoardRow, view: View) -> str:
    """Published values of the main metric that belong beside this view; one whose view is unknown stands beside the main view."""
    task = board_row.row.task
    found = [
        figure
        for figure in board_row.published
        if figure.metric == task.main_metric and (figure.view == view or (figure.view == "unknown" and view == task.main_view))
    ]
    return "; ".join(f"{figure.published:.4f} ({level_title(figure.level)}, {figure.verdict})" for figure in found) or NOTHING


def level_title(level: Level) -> str:
    """`item level`, `code level`, or `level unknown`."""
    return {"item": "item level", "sid": "code level", "unknown": "level unknown"}[level]


def published(section: Section) -> Grid:
    """Every published number beside ours."""
    header = ("Model", "Metric", "View", "Level", "Source", "Verdict", "Published", "Measured", "Difference")
    rows = [
        (
            board_row.row.label,
            metric_title(figure.metric),
            figure.view,
            figure.level,
            f"{figure.source} ({figure.kind})",
            verdict(figure),
            *_against(figure),
        )
        for board_row in section.rows
        for figure in board_row.published
    ]
    return Grid(header, tuple(rows), words=header[:6])


def verdict(figure: PublishedFigure) -> str:
    """The verdict, with the reason where there is one."""
    return f"{figure.verdict} ({figure.reason})" if figure.reason else figure.verdict


def _against(figure: PublishedFigure) -> tuple[str, str, str]:
    if figure.measured is None or figure.published == 0:
        return number(figure.published), number(figure.measured), NOTHING
    return number(figure.published), number(figure.measured), f"{100 * (figure.measured / figure.published - 1):+.1f} %"


def cost(section: Section) -> Grid:
    """Parameters, times and memory; figures of runs that shared the machine carry a dagger."""
    always = ("Model", "Machine", "Parameters", "Training s", f"{section.task.words.units.capitalize()}/s", "Peak memory MiB")
    known = [spent for board_row in section.rows if (spent := board_row.row.cost) is not None]
    asked = {
        "Training Wh": any(spent.train_energy_kwh is not None for spent in known),
        "Training GFLOP": any(spent.train_flops is not None for spent in known),
    }
    header = (*always, *(title for title, is_there in asked.items() if is_there))
    rows: list[tuple[str, ...]] = []
    for board_row in section.rows:
        spent = board_row.row.cost
        if spent is None:
            rows.append((board_row.row.label, machine(board_row.row.record), *(NOTHING,) * (len(header) - 2)))
            continue
        dagger = f" {DAGGER}" if spent.is_shared else ""
        times = (f"{spent.train_s:,.1f}", f"{spent.users_per_s:,.0f}", peak_memory(spent, on_device=spent.on_device))
        consumed = {"Training Wh": energy(spent) + dagger, "Training GFLOP": flops(spent)}
        last = (text for title, text in consumed.items() if asked[title])
        rows.append((board_row.row.label, spent.machine, f"{spent.parameters:,}", *(value + dagger for value in times), *last))
    return Grid(header, tuple(rows), words=header[:2])


def energy(spent: Cost | CostPart) -> str:
    """Energy of the training in watt-hours, three digits of it."""
    return NOTHING if spent.train_energy_kwh is None else f"{1_000 * spent.train_energy_kwh:.3g}"


def flops(spent: Cost | CostPart) -> str:
    """Floating-point operations of the training in thousands of millions, three digits of it at least."""
    if spent.train_flops is None:
        return NOTHING
    return f"{spent.train_flops / 1e9:,.0f}" if spent.train_flops >= 1e12 else f"{spent.train_flops / 1e9:.3g}"


def consumed(spent: CostPart) -> list[str]:
    """What was measured of energy and operations, as phrases."""
    phrases = [f"{energy(spent)} Wh"] if spent.train_energy_kwh is not None else []
    return phrases + ([f"{flops(spent)} GFLOP"] if spent.train_flops is not None else [])


def peak_memory(spent: Cost | CostPart | StagePart, *, on_device: bool) -> str:
    """Peak memory in MiB: of the device where the work ran on one, and marked where only the host's was measured."""
    if not on_device:
        return f"{spent.peak_memory_bytes / _MIB:,.0f}"
    if spent.peak_device_memory_bytes is None:
        return f"{spent.peak_memory_bytes / _MIB:,.0f} (host memory)"
    return f"{spent.peak_device_memory_bytes / _MIB:,.0f}"


def significance(section: Section) -> Grid:
    """The best row against each other one on the main metric in the main view."""
    header = ("Model", "Seeds", "Best − model", "95 % interval", "p", "p (Holm)", "Detectable")
    rows = [
        (
            test.other,
            f"{test.seeds_best} and {test.seeds_other}",
            f"{test.difference.value:+.4f}",
            f"[{test.difference.low:+.4f}, {test.difference.high:+.4f}]",
            _p_value(test.p),
            _p_value(test.p_holm),
            f"{test.minimum_detectable:.4f}",
        )
        for test in section.tests
    ]
    return Grid(header, tuple(rows), words=header[:2])


def _p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def slices(section: Section, view: View) -> list[tuple[str, Grid]]:
    """For each way to group the users a title and a table: the main metric of each row in each group, with the group's size."""
    groups: dict[str, dict[str, int]] = {}
    values: dict[str, dict[tuple[str, str], float]] = {}
    for board_row in section.rows:
        cells = values[board_row.row.label] = {}
        for part in board_row.row.slices(view):
            groups.setdefault(part.slice, {}).setdefault(part.group, part.n)
            cells[part.slice, part.group] = part.value
    return [
        (
            slice_name,
            Grid(
                ("Model", *(f"{group} ({n:,})" for group, n in sizes.items())),
                tuple((label, *(number(cells.get((slice_name, group))) for group in sizes)) for label, cells in values.items() if cells),
            ),
        )
        for slice_name, sizes in groups.items()
    ]


def beyond(section: Section, view: View) -> Grid:
    """Coverage, concentration, popularity and novelty of what each row shows in its top 10."""
    header = ("Model", *(metric_title(name) for name in BEYOND))
    rows = []
    for board_row in section.rows:
        figures = board_row.row.beyond(view)
        rows.append((board_row.row.label, *(number(figures.get(name)) for name in BEYOND)))
    return Grid(header, tuple(rows))


@dataclass(frozen=True)
class MadeLine:
    """How one record of a row was made."""

    row: str
    seed: int
    run_id: str
    sha256: str
    config_hash: str
    machine: str
    code: str
    date: str
    state: str
    """`counts`, or `superseded` by a newer run of the same row and seed."""


def made(section: Section) -> list[MadeLine]:
    """A line per record, by row and seed."""
    return [
        MadeLine(
            row=board_row.row.label,
            seed=run.record.seed,
            run_id=run.record.run_id,
            sha256=run.sha256[:HASH_DIGITS],
            config_hash=run.record.config_hash[:CONFIG_DIGITS],
            machine=machine(run.record),
            code=code_version(run.record),
            date=run.record.started[:10],
            state="counts" if run in board_row.row.runs else "superseded",
        )
        for board_row in section.rows
        for run in (*board_row.row.runs, *board_row.row.superseded)
    ]


@dataclass(frozen=True)
class OverviewLine:
    """One section of a board, for the index."""

    name: str
    title: str
    protocol: str
    n_users: int
    n_items: int
    n_interactions: int
    n_rows: int
    best: str
    task: str
    values: Mapping[View, str]
    """Per view the main metric of the best row."""


def overview(boards: Sequence[Board]) -> list[OverviewLine]:
    """A line per section of every board."""
    return [
        OverviewLine(
            name=board.name,
            title=board.title,
            protocol=section.title,
            n_users=best.record.targets.n_users,
            n_items=section.dataset.n_items,
            n_interactions=section.dataset.n_interactions,
            n_rows=len(section.rows),
            best=best.label,
            task=section.task.name,
            values={view: number(best.main(view)) for view in section.task.views},
        )
        for board in boards
        for section in board.sections
        for best in [section.rows[0].row]
    ]


def standing(found: Standings) -> Grid:
    """Models across data sets: on how many each stands, mean rank, wins, and per data set the main metric with the rank in brackets."""
    header = ("Model", "Data sets", "Mean rank", "Wins", *found.datasets, "Best rows")
    rows = []
    for model in found.models:
        places = [model.places.get(name) for name in found.datasets]
        cells = [
            NOTHING if place is None else number(place.value) + ("" if place.rank is None else f" ({place.rank:g})") for place in places
        ]
        labels = dict.fromkeys(place.row for place in places if place is not None)
        mean_rank = NOTHING if model.mean_rank is None else f"{model.mean_rank:.2f}"
        count = f"{len(model.places)} of {len(found.datasets)}"
        rows.append((model.model, count, mean_rank, str(model.wins), *cells, "; ".join(labels)))
    return Grid(header, tuple(rows), words=("Model", "Data sets", "Best rows"))
