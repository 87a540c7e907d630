"""Boards as markdown pages. Only records and cards go in, so equal records give equal bytes on every machine and day."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recbench.core.visible import visible
from recbench.reporting import grids
from recbench.reporting.board import Board
from recbench.reporting.court import court, levels
from recbench.reporting.grids import Grid, OverviewLine
from recbench.reporting.repeats import over_seeds, repeats
from recbench.reporting.standing import Standings, standings
from recbench.tasks import Task, find_task

MADE_BY = "<!-- Made by `recbench leaderboard publish` from records/. Do not edit: `recbench verify` compares every digit. -->"
"""First line of every page; what does not start with it is left alone."""
INDEX = "index.md"


def render_pages(boards: Sequence[Board]) -> dict[str, str]:
    """File name and text of every page: one per board and the index."""
    pages = {f"{board.name}.md": _environment().get_template("board.md.jinja").render(board=board) for board in boards}
    index = _environment().get_template("index.md.jinja").render(tasks=_by_task(boards))
    return pages | {INDEX: index}


def _by_task(boards: Sequence[Board]) -> list[tuple[Task, list[OverviewLine], list[Standings]]]:
    """Per task, in the order of the boards, a line per section and how models do across data sets."""
    lines, across = grids.overview(boards), standings(boards)
    tasks = [find_task(name) for name in dict.fromkeys(line.task for line in lines)]
    return [(task, [line for line in lines if line.task == task.name], [found for found in across if found.task == task]) for task in tasks]


def escape(text: str) -> str:
    """Text that markdown shows as it is, in a table cell too, and that steers no terminal where somebody reads the file itself."""
    text = visible(text)
    for character in "\\`*<>|":
        text = text.replace(character, "\\" + character)
    # Brackets are plain text unless a parenthesis follows.
    return " ".join(text.replace("](", "]\\(").split())


def markdown_table(grid: Grid) -> str:
    """A grid as a markdown table, words at the left and numbers at the right."""
    rule = [":--" if column in grid.words else "--:" for column in grid.header]
    lines = [list(map(escape, grid.header)), rule, *(list(map(escape, row)) for row in grid.rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@cache
def _environment() -> Environment:
    # Markdown, not HTML: cells are escaped by `escape`.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )
    environment.filters |= {"table": markdown_table, "md": escape}
    environment.globals |= {
        "made_by": MADE_BY,
        "hash_digits": grids.HASH_DIGITS,
        "targets_line": grids.targets_line,
        "validation_title": lambda task: grids.metric_title(task.validation_metrics[0]),
        "accuracy": grids.accuracy,
        "published": grids.published,
        "court": court,
        "repeats": repeats,
        "over_seeds": over_seeds,
        "levels": levels,
        "cost": grids.cost,
        "significance": grids.significance,
        "slices": grids.slices,
        "beyond": grids.beyond,
        "made": grids.made,
        "standing": grids.standing,
    }
    return environment
