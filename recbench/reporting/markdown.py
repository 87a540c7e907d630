"""Boards as markdown pages. Only records and cards go in, so equal records give equal bytes on every machine and day."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recbench.core.visible import visible
from recbench.reporting import answer_grids, grids
from recbench.reporting.answers import CALL_OF_MANY, LEAST_MODELS, Answers
from recbench.reporting.board import Board
from recbench.reporting.court import court, levels
from recbench.reporting.grids import Grid, OverviewLine
from recbench.reporting.headline import best_of_kinds, headline_line, headlines
from recbench.reporting.repeats import over_seeds, repeats
from recbench.reporting.rewards import rewards
from recbench.reporting.standing import Standings, standings
from recbench.tasks import NEXT_ITEM, Task, find_task
from recbench.tasks.leagues import leagues

MADE_BY = "<!-- Made by `recbench leaderboard publish` from records/. Do not edit: `recbench verify` compares every digit. -->"
"""First line of every page; what does not start with it is left alone."""
INDEX, ANSWER = "index.md", "answer.md"


def render_pages(boards: Sequence[Board], answers: Answers) -> dict[str, str]:
    """File name and text of every page: one per board, the index and, where a league has rows, the answer."""
    of_board = environment().get_template("board.md.jinja")
    pages = {f"{board.name}.md": of_board.render(board=board, answers=answers) for board in boards}
    index = environment().get_template("index.md.jinja").render(boards=boards, tasks=_by_task(boards, answers), answers=answers)
    if answers.tables:
        pages[ANSWER] = environment().get_template("answer.md.jinja").render(answers=answers, task=NEXT_ITEM)
    return pages | {INDEX: index}


def _by_task(boards: Sequence[Board], answers: Answers) -> list[tuple[Task, list[OverviewLine], list[Standings]]]:
    """Per task, in the order of the boards, a line per section and how models do across data sets."""
    lines, across = grids.overview(boards), standings(boards, answers)
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
def environment() -> Environment:
    """Templates of pages and cards in markdown, with the filters `table` and `md`."""
    # Markdown, not HTML: cells are escaped by `escape`.
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )
    made.filters |= {"table": markdown_table, "md": escape}
    made.globals |= {
        "made_by": MADE_BY,
        "hash_digits": grids.HASH_DIGITS,
        "targets_line": grids.targets_line,
        "validation_title": lambda task: grids.metric_title(task.validation_metrics[0]),
        "rewards": rewards,
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
        "least_models": LEAST_MODELS,
        "leagues": leagues,
        "call_of_many": CALL_OF_MANY,
        "only_where_both_stand": answer_grids.ONLY_WHERE_BOTH_STAND,
        "headlines": headlines,
        "headline_line": headline_line,
        "best_of_kinds": best_of_kinds,
    }
    grid_makers = (
        answer_grids.league_table,
        answer_grids.standing_line,
        answer_grids.coverage,
        answer_grids.strengths,
        answer_grids.leads,
        answer_grids.costs,
        answer_grids.predicted_line,
        answer_grids.alike_line,
        answer_grids.agreements,
    )
    made.globals |= {maker.__name__: maker for maker in grid_makers}
    return made
