"""The rows of a board that belong to its league, where all models had the same processor time, and the runs that are missing there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from recbench.core.model_card import ModelCard
from recbench.reporting.archive import StoredRun
from recbench.reporting.board import Board, Section
from recbench.reporting.rows import Row
from recbench.tasks import NEXT_ITEM
from recbench.tasks.leagues import KINDS, LeagueCell, cell_key, cells_of_class, leagues, record_keys

UNTRAINED, SEQUENTIAL, GENERATIVE = FAMILIES = ("untrained", "sequential", "generative")
"""What competes: models without training, those that score items, those that generate item codes or texts."""


@dataclass(frozen=True, eq=False)
class LeagueRow:
    """A model of a league on one board.

    Attributes:
        model: as the league names it, such as `sasrec:cpu` or `item-knn:tuned-40`.
        family: one of `FAMILIES`.
        row: its runs.
        n_seeds: how many of them the league asks for.
    """

    model: str
    family: str
    row: Row
    n_seeds: int


@dataclass(frozen=True, eq=False)
class LeagueTable:
    """What stands and what is missing of a league on one board.

    Attributes:
        league: its class, such as `small`.
        dataset: name of the data set.
        protocol: its name within the league.
        budget: of each model that learns.
        section: the board; None where no row of the league stands under this split, but one does under another of the protocol.
        rows: best first.
        missing: runs without a record.
    """

    league: str
    dataset: str
    protocol: str
    budget: str
    section: Section | None
    rows: tuple[LeagueRow, ...]
    missing: tuple[LeagueCell, ...]

    @property
    def command(self) -> str:
        """The command that runs what is missing."""
        return f"recbench league run --class {self.league} --protocol {self.protocol} --datasets {self.dataset}"


class LeagueTables:
    """The league tables of boards, by data set and split; cells are worked out once for all of them."""

    def __init__(self, cards: Mapping[str, ModelCard]) -> None:
        self._cards = cards

    @cached_property
    def _cells(self) -> dict[str, dict[str, tuple[LeagueCell, ...]]]:
        """Of each data set: the cells of every protocol, by the protocol's name."""
        found: dict[str, dict[str, list[LeagueCell]]] = {}
        for name in leagues().classes:
            for cell in cells_of_class(name, self._cards):
                found.setdefault(cell.dataset, {}).setdefault(cell.protocol, []).append(cell)
        return {dataset: {title: tuple(cells) for title, cells in titles.items()} for dataset, titles in found.items()}

    def of_board(self, board: Board) -> list[LeagueTable]:
        """The tables of a data set, in the order of the league's protocols, then of the splits; of protocols that have a league's row."""
        league = leagues().class_of(board.name)
        if league is None:
            return []
        budget = leagues().classes[league].budget
        tables = []
        for protocol, cells in self._cells.get(board.name, {}).items():
            of_protocol = [
                self._table(league, protocol, budget, board, [cell for cell in cells if cell.split == split])
                for split in dict.fromkeys(cell.split for cell in cells)
            ]
            tables += of_protocol if any(table.rows for table in of_protocol) else []
        return tables

    def _table(self, league: str, protocol: str, budget: str, board: Board, cells: Sequence[LeagueCell]) -> LeagueTable:
        """The table of one split; `cells` are those that the league has under it."""
        asked = NEXT_ITEM.protocol(cells[0].split, cells[0].ties)
        for section in board.sections:
            part = section.protocol
            same = (part.split, part.split_options, part.ties) == (asked.name, dict(asked.options), asked.ties)
            if section.task.name == NEXT_ITEM.name and same:
                rows, missing = self._rows(section, cells)
                return LeagueTable(league, board.name, protocol, budget, section if rows else None, rows, missing)
        return LeagueTable(league, board.name, protocol, budget, None, (), tuple(cells))

    def _rows(self, section: Section, cells: Sequence[LeagueCell]) -> tuple[tuple[LeagueRow, ...], tuple[LeagueCell, ...]]:
        cell_of = {cell_key(cell, self._cards): cell for cell in cells}
        rows: dict[str, LeagueRow] = {}
        there: set[str] = set()
        for board_row in section.rows:
            # A search may choose the preset's own settings: then two models of the league share a row, and one run hides another.
            of_model: dict[str, dict[str, StoredRun]] = {}
            for run in (*board_row.row.runs, *board_row.row.superseded):
                # Runs with seeds that the league does not ask for are no part of it.
                for key in record_keys(run.record, self._cards):
                    if key in cell_of:
                        of_model.setdefault(cell_of[key].entry, {}).setdefault(key, run)
            for model, of_league in of_model.items():
                there |= of_league.keys()
                n_seeds = sum(cell.entry == model for cell in cells)
                runs = tuple(sorted(of_league.values(), key=lambda run: run.record.seed))
                row = board_row.row if runs == board_row.row.runs else replace(board_row.row, runs=runs, superseded=(), spread={})
                # Of two rows of one model, as two searches give, the newer counts: never the one that does better in the test.
                if model in rows and _newest(rows[model].row) > _newest(row):
                    continue
                rows.pop(model, None)
                rows[model] = LeagueRow(model, _family(cell_of[next(iter(of_league))], row), row, n_seeds)
        return tuple(rows.values()), tuple(cell for key, cell in cell_of.items() if key not in there)


def _newest(row: Row) -> tuple[str, str]:
    return max((run.record.started, run.record.run_id) for run in row.runs)


def _family(cell: LeagueCell, row: Row) -> str:
    if cell.kind == KINDS[0]:
        return UNTRAINED
    return GENERATIVE if row.record.model.family == "generative" else SEQUENTIAL
