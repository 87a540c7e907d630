"""Models across data sets: on how many each stands, its mean rank among those that stand on all, and its wins."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recbench.core.ranking import View
from recbench.reporting.answers import Answers
from recbench.reporting.board import Board, Section
from recbench.tasks import Task


@dataclass(frozen=True)
class Place:
    """A model on one data set.

    Attributes:
        row: label of its best row there.
        value: main metric of that row.
        rank: among the models that stand on all data sets, 1 is best, equal values share the middle of their ranks; None for other models.
    """

    row: str
    value: float
    rank: float | None


@dataclass(frozen=True)
class Standing:
    """A model on all data sets of one protocol.

    Attributes:
        model: its name.
        places: by data set; those without a row of the model are absent.
        mean_rank: over all data sets; None where the model does not stand on every one.
        wins: data sets on which no model, whether it stands on all of them or not, has a higher main metric.
    """

    model: str
    places: Mapping[str, Place]
    mean_rank: float | None
    wins: int


@dataclass(frozen=True)
class Standings:
    """All models in one view on the data sets that share task and protocol, best mean rank first, then those without one."""

    task: Task
    protocol: str
    view: View
    datasets: tuple[str, ...]
    models: tuple[Standing, ...]

    @property
    def n_ranked(self) -> int:
        """How many models stand on every data set; ranks run from 1 to this."""
        return sum(standing.mean_rank is not None for standing in self.models)


def standings(boards: Sequence[Board], answers: Answers) -> list[Standings]:
    """Per task and protocol that two or more data sets share, and per view, how the models do across them; in the order of the boards.

    Sections that hold rows of a league alone are left out: the answer compares those.
    """
    by_protocol: dict[tuple[str, str], dict[str, Section]] = {}
    for board in boards:
        for section in board.sections:
            if any(len(table.rows) == len(section.rows) for table in answers.tables_of(section)):
                continue
            by_protocol.setdefault((section.task.name, section.title), {})[board.name] = section
    shared = [sections for sections in by_protocol.values() if len(sections) > 1]
    return [_standings(view, sections) for sections in shared for view in next(iter(sections.values())).task.views]


def _standings(view: View, sections: Mapping[str, Section]) -> Standings:
    first = next(iter(sections.values()))
    best = {name: _best_rows(section, view) for name, section in sections.items()}
    models = sorted({model for found in best.values() for model in found})
    everywhere = [model for model in models if all(model in found for found in best.values())]
    top = {name: max((value for _, value in found.values()), default=None) for name, found in best.items()}
    made = []
    for model in models:
        places = {
            name: Place(label, value, _rank(value, [found[other][1] for other in everywhere]) if model in everywhere else None)
            for name, found in best.items()
            if model in found
            for label, value in [found[model]]
        }
        ranks = [place.rank for place in places.values() if place.rank is not None]
        wins = sum(place.value == top[name] for name, place in places.items())
        made.append(Standing(model, places, statistics.fmean(ranks) if ranks else None, wins))
    return Standings(first.task, first.title, view, tuple(sections), tuple(sorted(made, key=_order)))


def _best_rows(section: Section, view: View) -> dict[str, tuple[str, float]]:
    """Per model its row with the highest main metric in this view: label and value."""
    best: dict[str, tuple[str, float]] = {}
    for row in (board_row.row for board_row in section.rows):
        value = row.main(view)
        model = row.record.model.name
        if value is not None and (model not in best or value > best[model][1]):
            best[model] = (row.label, value)
    return best


def _rank(value: float, values: Sequence[float]) -> float:
    """Place of one of `values` among them, 1 for the highest; equal ones share the middle of their places."""
    return 1 + sum(other > value for other in values) + (sum(other == value for other in values) - 1) / 2


def _order(standing: Standing) -> tuple[float, int, int, str]:
    rank = float("inf") if standing.mean_rank is None else standing.mean_rank
    return (rank, -len(standing.places), -standing.wins, standing.model)
