"""All boards as one HTML page that sorts, filters and plots without a network: style, script and figures stand inside the page.

The figures are those of the markdown pages, as text, in a block of JSON with a line per row; the script shows them and computes none.
What the page tells of each record stands in a second block, which the script reads when the first record is opened.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from recbench.core.ranking import View
from recbench.core.visible import visible
from recbench.reporting import answer_grids, grids
from recbench.reporting.answers import Answer, Answers
from recbench.reporting.board import Board, BoardRow, Section
from recbench.reporting.court import court, levels
from recbench.reporting.explanations import BADGES, column_explanations
from recbench.reporting.grids import Grid, OverviewLine
from recbench.reporting.headline import KINDS, Headline, headline_line, headlines, kind_of, kind_title
from recbench.reporting.markdown import MADE_BY
from recbench.reporting.page_records import FACTS, STAGES, PageRecords
from recbench.reporting.rewards import rewards
from recbench.reporting.rows import SliceFigure
from recbench.reporting.standing import Standings, standings
from recbench.tasks import Task

PAGE = "index.html"
_SCRIPTS = (
    "base.js",
    "tips.js",
    "charts.js",
    "headline.js",
    "answer.js",
    "records.js",
    "tables.js",
    "boards.js",
    "download.js",
    "index.js",
)
"""Parts of the page's one script, in the order in which they are run."""
_FOLDER = Path(__file__).parent


def render_page(boards: Sequence[Board], answers: Answers) -> str:
    """Text of the page; equal boards give equal bytes."""
    parts = {"figures": Markup(figures_json(boards, answers)), "records": Markup(records_json(boards))}
    tasks = {task: _explained(task, section, ()) for task, section in _sections_of_tasks(boards).items()}
    return _environment().get_template("index.html.jinja").render(boards=boards, tasks=tasks, badges=BADGES, **parts)


def figures_json(boards: Sequence[Board], answers: Answers) -> str:
    """A JSON object with a line per board and per row, so that a difference names its row; no `<` in it can end the script block."""
    sections = [section for board in boards for section in board.sections]
    tasks = _sections_of_tasks(boards)
    told = {task.name: _task(task, section) | {"explained": _explained(task, section, boards)} for task, section in tasks.items()}
    found = [_headlines(headlines(boards, task, view), task, view) for task in tasks for view in task.views]
    parts = [
        f'"tasks":{_line(told)}',
        f'"badges":{_line([(badge.pattern, badge.sentence) for badge in BADGES])}',
        f'"headlines":{_lines(found)}',
        f'"across":{_lines([_across(found) for found in standings(boards, answers)])}',
        f'"answers":{_lines([_answer(found) for found in answers.answers])}',
        f'"boards":{_lines([_board(line, section) for line, section in zip(grids.overview(boards), sections, strict=True)])}',
    ]
    return "{" + ",\n".join(parts) + "}"


def records_json(boards: Sequence[Board]) -> str:
    """A JSON object with a line per record, and what several records share."""
    found = PageRecords(boards)
    runs = ",\n".join(f"{_line(run_id)}:{_line(told)}" for run_id, told in found.runs.items())
    settings = _lines([_line(dict(pairs)) for pairs in found.settings])
    titles = _line({"facts": FACTS, "stages": STAGES})
    return (
        f'{{"titles":{titles},\n"shared":{_lines([_line(text) for text in found.shared])},\n"settings":{settings},\n"runs":{{\n{runs}\n}}}}'
    )


def _sections_of_tasks(boards: Sequence[Board]) -> dict[Task, Section]:
    """A section of every task, in the order of the boards."""
    found: dict[Task, Section] = {}
    for section in (section for board in boards for section in board.sections):
        found.setdefault(section.task, section)
    return found


def _task(task: Task, section: Section) -> dict[str, object]:
    """What the page must know of a task: its views, the main one first, its words, the columns that an overview shows."""
    return {
        "title": task.title,
        "unit": task.words.unit,
        "units": task.words.units,
        "views": task.views,
        "main": task.main_title,
        "quality": grids.interval_title(task.main_metric),
        "beside": [grids.interval_title(name) for name in task.interval_metrics if name != task.main_metric],
        "columns": _columns(section),
        "kinds": {kind: kind_title(kind, task) for kind in KINDS},
    }


def _explained(task: Task, section: Section, boards: Sequence[Board]) -> dict[str, str]:
    """A sentence for each column of every table of a task."""
    titles = [title for table in _columns(section).values() for title in table]
    titles += [f"{task.main_title}, {view}" for view in task.views]
    titles += [
        "#",
        "Model",
        "Records",
        "Data set",
        "Title",
        "Protocol",
        f"Test {task.words.units}",
        "Items",
        "Interactions",
        "Rows",
        "Best row",
    ]
    titles += ["Data sets", "Mean rank", "Wins", "Best rows", "Family", "Strength [95 %]", "Mean rank [95 %]"]
    return column_explanations(task, dict.fromkeys(titles), [board.name for board in boards if board.sections[0].task is task])


def _headlines(found: Sequence[Headline], task: Task, view: View) -> str:
    """The best of each kind in one view: a line about them, then a line per data set."""
    rows = []
    for one in found:
        best = {kind: [label, grids.with_interval(figure)] for kind, (label, figure) in one.best.items()}
        row: dict[str, object] = {"dataset": one.dataset, "protocol": one.protocol, "best": best, "ahead": one.ahead}
        if (figure := one.published) is not None:
            row["published"] = [one.published_model, grids.number(figure.published), figure.level, figure.source]
        rows.append(_line(row))
    about = {"task": task.name, "view": view, "sentence": headline_line(found, task)}
    return f'{{"about":{_line(about)},"rows":{_lines(rows)}}}'


def _columns(section: Section) -> dict[str, Sequence[str]]:
    """Titles of the columns of each table, without the row's name; the same for every section of a task."""
    view = section.task.main_view
    tables = {"accuracy": grids.accuracy(section, view), "beyond": grids.beyond(section, view), "cost": grids.cost(section)}
    tables |= {"against": grids.significance(section), "published": grids.published(section)}
    tables |= {"levels": levels(section, view), "court": court(section)}
    return {name: _titles(grid) for name, grid in tables.items()}


def _titles(grid: Grid) -> tuple[str, ...]:
    return grid.header[grid.header.index("Model") + 1 :]


def _cells(grid: Grid) -> Mapping[str, Sequence[tuple[str, ...]]]:
    """By row the cells of every line of a grid that belongs to it, without the row's name."""
    place = grid.header.index("Model")
    by_row: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for cells in grid.rows:
        by_row[cells[place]].append(cells[place + 1 :])
    return by_row


def _across(found: Standings) -> str:
    """Models across data sets in one view: a line about them, then a line per model."""
    grid = grids.standing(found)
    about = {
        "task": found.task.name,
        "protocol": found.protocol,
        "view": found.view,
        "datasets": found.datasets,
        "ranked": found.n_ranked,
        "columns": grid.header,
        "words": grid.words,
    }
    best = [[model.places[name].row if name in model.places else None for name in found.datasets] for model in found.models]
    rows = [_line({"cells": cells, "best": labels}) for cells, labels in zip(grid.rows, best, strict=True)]
    return f'{{"about":{_line(about)},"rows":{_lines(rows)}}}'


def _answer(answer: Answer) -> str:
    """Models across the data sets of a league's protocol in one view: a line about them, then a line per model."""
    grid = answer_grids.strengths(answer)
    about = {
        "protocol": answer.protocol,
        "view": answer.view,
        "datasets": answer.datasets,
        "columns": grid.header,
        "words": grid.words,
        "tests": answer_grids.alike_line(answer),
        "predicted": answer_grids.predicted_line(answer),
        "alike": answer.alike,
        "warning": answer_grids.ONLY_WHERE_BOTH_STAND,
    }
    strength = [[f"{part:.4f}" for part in (one.strength.value, one.strength.low, one.strength.high)] for one in answer.models]
    rows = [
        _line({"cells": cells, "family": one.family, "strength": found})
        for cells, one, found in zip(grid.rows, answer.models, strength, strict=True)
    ]
    return f'{{"about":{_line(about)},"rows":{_lines(rows)}}}'


def _board(overview: OverviewLine, section: Section) -> str:
    """One section: a line about it, then a line per row and per published number on trial."""
    about: dict[str, object] = asdict(overview) | {
        "targets": grids.targets_line(section),
        "rewards": rewards(section),
        "fingerprint": section.test_fingerprint[: grids.HASH_DIGITS],
        "missing": [f"{baseline.model} ({baseline.state}: {baseline.reason})" for baseline in section.missing],
    }
    groups = {view: _groups(section, view) for view in section.task.views}
    about["groups"] = {view: list(found) for view, found in groups.items()}
    tables = {"cost": grids.cost(section), "against": grids.significance(section), "published": grids.published(section)}
    cells_of = {name: _cells(grid) for name, grid in tables.items()}
    views = {
        view: {
            "accuracy": _cells(grids.accuracy(section, view)),
            "beyond": _cells(grids.beyond(section, view)),
            "levels": _cells(levels(section, view)),
        }
        for view in section.task.views
    }
    made = defaultdict(list)
    for line in grids.made(section):
        record = f"records/{line.run_id}/record.json"
        made[line.row].append([line.seed, record, line.sha256, line.config_hash, line.machine, line.code, line.date, line.state])
    rows = []
    for board_row in section.rows:
        label = board_row.row.label
        row: dict[str, object] = {"model": label, "kind": kind_of(board_row.row)}
        for view, shown in views.items():
            cells = {name: next(iter(by_row.get(label, ())), ()) for name, by_row in shown.items()}
            row[view] = cells | {"groups": _group_values(board_row, view, groups[view])}
        row |= {name: by_row.get(label, []) for name, by_row in cells_of.items()}
        row["made"] = made[label]
        rows.append(_line(row))
    trial = [_line(cells) for cells in court(section).rows]
    return f'{{"about":{_line(about)},"rows":{_lines(rows)},"court":{_lines(trial)}}}'


def _groups(section: Section, view: View) -> dict[tuple[str, str, str], None]:
    """All groups of a board: how they are grouped, the group, its size; in the order in which the rows name them."""
    return {_group(part): None for board_row in section.rows for part in board_row.row.slices(view)}


def _group(part: SliceFigure) -> tuple[str, str, str]:
    return part.slice, part.group, f"{part.n:,}"


def _group_values(board_row: BoardRow, view: View, groups: Iterable[tuple[str, str, str]]) -> list[str]:
    """The main metric of each group; an en dash where the row has no such group."""
    values = {_group(part): grids.number(part.value) for part in board_row.row.slices(view)}
    return [values.get(group, grids.NOTHING) for group in groups] if values else []


def _line(value: object) -> str:
    return json.dumps(_shown(value), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _shown(value: Any) -> Any:
    """A JSON value in which characters that steer a terminal, or turn the direction of writing on the page, are spelt out."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(key): _shown(part) for key, part in value.items()}
    return [_shown(part) for part in value] if isinstance(value, Sequence) else value


def _lines(values: Sequence[str]) -> str:
    return "[\n" + ",\n".join(values) + "\n]" if values else "[]"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )
    # Both are our own text: put in as they are.
    own = {"css": ("index.css",), "js": _SCRIPTS}
    environment.globals |= {
        name: Markup("\n".join((_FOLDER / file).read_text(encoding="utf-8") for file in files)) for name, files in own.items()
    }
    environment.globals["made_by"] = Markup(MADE_BY)
    return environment
