"""Running leagues: which of their cells stand, here and on the boards, and making the others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from recbench import registry
from recbench.core.errors import BadRequest, RecbenchError, nearest
from recbench.core.model_card import ModelCard
from recbench.running.host.workplace import Workplace
from recbench.running.many.compare import compare_request
from recbench.running.many.tune import TrialState, tune_request
from recbench.running.requests import Cell, CompareRequest, TuneRequest
from recbench.running.run.folders import known_records
from recbench.tasks.leagues import LeagueCell, LeagueSearch, Standing, cells_of_class, leagues, standing


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
    for option, of, wanted in (("--models", "entry", models), ("--datasets", "dataset", datasets)):
        known = dict.fromkeys(getattr(cell, of) for part in cells.values() for cell in part)
        for value in wanted or ():
            if value not in known:
                there = f"{nearest(value, known)} There are: {', '.join(known)}."
                raise BadRequest(f"{option}: {value!r} is not in this part of the league.{there}")
        cells = {name: tuple(cell for cell in part if wanted is None or getattr(cell, of) in wanted) for name, part in cells.items()}
    records = list(known_records(workplace))
    return {name: standing(part, records, cards) for name, part in cells.items()}


def _cards() -> dict[str, ModelCard]:
    """Full cards of the models that can be imported here; the others have no cells."""
    return {row.name: row.plugin.full_card for row in registry.models().describe() if row.plugin is not None}


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
    done: list[Cell] = []
    groups: dict[tuple[str, str, str | None], list[Cell]] = {}
    # Cells of several data sets share a search: made again for each, it would repeat its failed trials.
    searches: dict[tuple[str, LeagueSearch, str, str], Cell] = {}
    for cell in cells:
        waiting = _waiting(cell)
        if cell.search is not None:
            key = (cell.name, cell.search, cell.split, cell.ties)
            if key not in searches:
                searches[key] = _searched(cell, cell.search, request, workplace, lambda searching: on_change([searching]))
            waiting = replace(searches[key], dataset=cell.dataset, seed=cell.seed)
        if waiting.state == "failed":
            done.append(waiting)
        else:
            groups.setdefault((cell.split, cell.ties, cell.budget), []).append(waiting)
    for (split, ties, budget), group in groups.items():
        asked = replace(
            request,
            models=tuple(dict.fromkeys(cell.row_name for cell in group)),
            datasets=tuple(dict.fromkeys(cell.dataset for cell in group)),
            seeds=1 + max(cell.seed for cell in group),
            protocol=split,
            ties=ties,
            budget=budget,
        )
        done += compare_request(asked, workplace, on_change, group)
    return done


def _waiting(cell: LeagueCell) -> Cell:
    name, _, preset = cell.model.partition(":")
    return Cell(name, preset or None, cell.dataset, cell.seed, "waiting")


def _searched(
    cell: LeagueCell, search: LeagueSearch, request: CompareRequest, workplace: Workplace, on_change: Callable[[Cell], None]
) -> Cell:
    """The cell with the settings that win a search, which goes on where it was stopped; `failed` where no trial could be made."""
    asked = TuneRequest(
        cell.name,
        search.dataset,
        search.trials,
        preset=search.preset,
        budget=search.budget,
        jobs=request.jobs,
        executor=request.executor,
        device=request.device,
        threads=request.threads,
        plugins=request.plugins,
        protocol=cell.split,
        ties=cell.ties,
    )
    waiting = _waiting(cell)

    def on_trials(states: list[TrialState]) -> None:
        n_done = sum(state.has_ended for state in states)
        on_change(replace(waiting, state="running", reason=f"trial {min(n_done + 1, search.trials)} of {search.trials}"))

    try:
        found = tune_request(asked, workplace, on_trials)
    except RecbenchError as error:
        return replace(waiting, state="failed", reason=str(error))
    return replace(waiting, preset=found.log.preset, config_file=found.config_file)
