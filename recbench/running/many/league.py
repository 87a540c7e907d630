"""Running leagues: which of their cells stand, here and on the boards, and making the others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from recbench import registry
from recbench.core.errors import BadRequest, nearest
from recbench.core.model_card import ModelCard
from recbench.running.host.workplace import Workplace
from recbench.running.many.compare import compare_request
from recbench.running.requests import Cell, CompareRequest
from recbench.running.run.folders import known_records
from recbench.tasks.leagues import LeagueCell, Standing, cells_of_class, leagues, standing


def standings(
    workplace: Workplace,
    league_class: str | None = None,
    protocol: str | None = None,
    kind: str | None = None,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> dict[str, Standing]:
    """How far each class is, or one, in the part of the league that is asked for; None: all of it.

    Raises:
        BadRequest: there is no such class, protocol, kind, model or data set.
    """
    classes = tuple(leagues().classes) if league_class is None else (league_class,)
    cards = _cards()
    cells = {name: cells_of_class(name, cards, protocol, kind) for name in classes}
    for option, of, wanted in (("--models", "model", models), ("--datasets", "dataset", datasets)):
        known = dict.fromkeys(getattr(cell, of) for part in cells.values() for cell in part)
        for value in wanted or ():
            if value not in known:
                there = f"{nearest(value, known)} There are: {', '.join(known)}."
                raise BadRequest(f"{option}: {value!r} is not in this part of the league.{there}")
        cells = {name: tuple(cell for cell in part if wanted is None or getattr(cell, of) in wanted) for name, part in cells.items()}
    records = list(known_records(workplace))
    return {name: standing(part, records, cards) for name, part in cells.items()}


def _cards() -> dict[str, ModelCard]:
    """Full cards of the models of the leagues."""
    names = dict.fromkeys(model.partition(":")[0] for model in (*leagues().untrained, *leagues().learned))
    return {name: registry.models().load(name).full_card for name in names}


def run_league(
    cells: Iterable[LeagueCell], request: CompareRequest, workplace: Workplace, on_change: Callable[[list[Cell]], None]
) -> list[Cell]:
    """Run cells, those of one protocol and budget together; a cell that fails stops no other.

    Args:
        cells: which, usually the missing ones.
        request: executor, jobs, threads and device; models, data sets, seeds, protocol and budget are those of the cells.
        workplace: shared by all cells.
        on_change: called with the cells of the present group when one has changed or made progress.
    """
    groups: dict[tuple[str, str, str | None], list[LeagueCell]] = {}
    for cell in cells:
        groups.setdefault((cell.split, cell.ties, cell.budget), []).append(cell)
    done: list[Cell] = []
    for (split, ties, budget), group in groups.items():
        asked = replace(
            request,
            models=tuple(dict.fromkeys(cell.model for cell in group)),
            datasets=tuple(dict.fromkeys(cell.dataset for cell in group)),
            seeds=1 + max(cell.seed for cell in group),
            protocol=split,
            ties=ties,
            budget=budget,
        )
        waiting = [_waiting(cell) for cell in group]
        done += compare_request(asked, workplace, on_change, waiting)
    return done


def _waiting(cell: LeagueCell) -> Cell:
    name, _, preset = cell.model.partition(":")
    return Cell(name, preset or None, cell.dataset, cell.seed, "waiting")
