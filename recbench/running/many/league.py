"""Leagues: every model on every data set of a class for the same processor time, which of it stands, and what is left."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.errors import BadRequest, UnknownPlugin, nearest
from recbench.core.interactions import TimeKind
from recbench.core.records import RunRecord
from recbench.data import SplitProtocol, dataset_card
from recbench.data.rules import LEAVE_ONE_OUT
from recbench.running.host.workplace import Workplace
from recbench.running.many.compare import compare_request
from recbench.running.requests import Cell, CompareRequest
from recbench.running.run.folders import known_records
from recbench.tasks import NEXT_ITEM

_FILE = Path(__file__).with_name("leagues.toml")
KINDS = ("untrained", "learned")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LeagueClass(_Part):
    """Data sets of about one size."""

    datasets: tuple[str, ...]
    budget: str
    """Of each model that learns."""
    seeds: PositiveInt
    """Of each model that learns, under leave-one-out."""


class _Repeats(_Part):
    option: str
    values: tuple[int, ...]


class LeagueProtocol(_Part):
    """A way to divide the data, and which data sets it is for."""

    split: str
    ties: str = "source"
    datasets: tuple[str, ...] | None = None
    """None: all."""
    without: tuple[str, ...] = ()
    kinds: tuple[Literal["untrained", "learned"], ...] = ("untrained", "learned")
    learned_seeds: PositiveInt | None = None
    """Of each model that learns; None: as many as the class has."""
    repeats: _Repeats | None = None
    """Values of an option of the split, each a split of its own."""

    def splits(self) -> tuple[str, ...]:
        """What `--protocol` is told, one for each repeat."""
        repeats = self.repeats
        return (self.split,) if repeats is None else tuple(f"{self.split}:{repeats.option}={value}" for value in repeats.values)


class Leagues(_Part):
    """The file `leagues.toml`."""

    untrained: tuple[str, ...]
    untrained_that_draw: tuple[str, ...]
    untrained_seeds: PositiveInt
    learned: tuple[str, ...]
    without_text: tuple[str, ...]
    classes: Mapping[str, LeagueClass]
    protocols: Mapping[str, LeagueProtocol]


@dataclass(frozen=True)
class LeagueCell:
    """One run of a league.

    Attributes:
        kind: `untrained` or `learned`.
        model: `NAME` or `NAME:PRESET`.
        dataset, seed: as `recbench run` takes them.
        protocol: name of the protocol within the league.
        split, ties: what `recbench run` is told of it.
        budget: processor time; None for a model that is not trained.
    """

    kind: str
    model: str
    dataset: str
    seed: int
    protocol: str
    split: str
    ties: str
    budget: str | None

    @property
    def command(self) -> str:
        """The command that runs this cell alone."""
        name, _, preset = self.model.partition(":")
        options = [f"-m {name}", f"-d {self.dataset}"]
        options += [f"--preset {preset}"] if preset else []
        options += [f"--protocol {self.split}"] if self.split != LEAVE_ONE_OUT.name else []
        options += [f"--ties {self.ties}"] if self.ties != "source" else []
        options += [f"--seed {self.seed}"] if self.seed else []
        options += [f"--budget {self.budget}"] if self.budget else []
        return " ".join(["recbench run", *options])


@dataclass(frozen=True)
class Standing:
    """How far a part of a league is.

    Attributes:
        cells: all of them.
        missing: those without a record.
    """

    cells: tuple[LeagueCell, ...]
    missing: tuple[LeagueCell, ...]

    @property
    def hours_left(self) -> float:
        """Processor hours that the missing trainings may take at most; what is not trained takes next to none."""
        return sum(Budget.parse(cell.budget).amount for cell in self.missing if cell.budget) / 3600

    def by_title(self) -> "dict[tuple[str, str], Standing]":
        """The part by protocol and kind of model."""

        def of(cells: tuple[LeagueCell, ...], title: tuple[str, str]) -> tuple[LeagueCell, ...]:
            return tuple(cell for cell in cells if (cell.protocol, cell.kind) == title)

        titles = dict.fromkeys((cell.protocol, cell.kind) for cell in self.cells)
        return {title: Standing(of(self.cells, title), of(self.missing, title)) for title in titles}


@cache
def leagues() -> Leagues:
    """The leagues of this version."""
    return Leagues.model_validate(tomllib.loads(_FILE.read_text(encoding="utf-8")))


def cells_of_class(name: str, protocol: str | None = None, kind: str | None = None) -> tuple[LeagueCell, ...]:
    """The cells of a class, under one protocol or all, untrained models first.

    Raises:
        BadRequest: there is no such class, protocol or kind.
    """
    found = leagues()
    for what, value, known in (("class", name, found.classes), ("protocol", protocol, found.protocols), ("kind", kind, KINDS)):
        if value is not None and value not in known:
            raise BadRequest(f"There is no league {what} {value!r}.{nearest(value, known)} Known: {', '.join(known)}.")
    chosen = {protocol: found.protocols[protocol]} if protocol else found.protocols
    return tuple(
        cell
        for title, how in chosen.items()
        for kind_of_cells in how.kinds
        if kind in (None, kind_of_cells)
        for cell in _cells(found, found.classes[name], title, how, kind_of_cells)
    )


def _cells(found: Leagues, of: LeagueClass, title: str, how: LeagueProtocol, kind: str) -> Iterator[LeagueCell]:
    learns = kind == "learned"
    for dataset in of.datasets:
        if dataset in how.without or (how.datasets is not None and dataset not in how.datasets):
            continue
        for split in how.splits():
            for model in found.learned if learns else found.untrained:
                if not _serves(model, dataset, has_text=dataset not in found.without_text):
                    continue
                n_drawn = found.untrained_seeds if model in found.untrained_that_draw else 1
                for seed in range((how.learned_seeds or of.seeds) if learns else n_drawn):
                    yield LeagueCell(kind, model, dataset, seed, title, split, how.ties, of.budget if learns else None)


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
    cells = {name: cells_of_class(name, protocol, kind) for name in classes}
    for option, of, wanted in (("--models", "model", models), ("--datasets", "dataset", datasets)):
        known = dict.fromkeys(getattr(cell, of) for part in cells.values() for cell in part)
        for value in wanted or ():
            if value not in known:
                there = f"{nearest(value, known)} There are: {', '.join(known)}."
                raise BadRequest(f"{option}: {value!r} is not in this part of the league.{there}")
        cells = {name: tuple(cell for cell in part if wanted is None or getattr(cell, of) in wanted) for name, part in cells.items()}
    records = list(known_records(workplace))
    return {name: standing(part, records) for name, part in cells.items()}


def _serves(model: str, dataset: str, *, has_text: bool) -> bool:
    """Whether the cards say that a data set has what a model needs."""
    card, about = registry.models().load(model.partition(":")[0]).card, dataset_card(dataset)
    lacks_time = "time" in card.needs and about.time != TimeKind.SECONDS.value
    lacks_text = "item_text" in card.needs and not has_text
    too_large = card.max_items is not None and (about.counts.items or 0) > card.max_items
    return not (lacks_time or lacks_text or too_large or set(card.needs_columns) - set(about.model_columns))


def standing(cells: Iterable[LeagueCell], records: Iterable[RunRecord]) -> Standing:
    """Which of the cells have no record yet."""
    done = {_identity(record) for record in records}
    every = tuple(cells)
    return Standing(every, tuple(cell for cell in every if _asked(cell) not in done))


def _identity(record: RunRecord) -> tuple[Any, ...]:
    """What a cell and its record have in common; one of other settings, one view or another device has none of it."""
    model, protocol = record.model, record.protocol
    options = tuple(sorted(protocol.split_options.items()))
    counts = (
        record.config == _settings(model.name, model.preset)
        and record.protocol.views == NEXT_ITEM.views
        and record.device.type == "cpu"
        and record.foreign is None
    )
    what = (model.name, model.preset if counts else None)
    return (*what, record.dataset.name, record.seed, protocol.split, options, protocol.ties, record.budget)


def _asked(cell: LeagueCell) -> tuple[Any, ...]:
    name, _, preset = cell.model.partition(":")
    protocol: SplitProtocol = NEXT_ITEM.protocol(cell.split, cell.ties)
    options = tuple(sorted(protocol.options.items()))
    budget = Budget.parse(cell.budget).text
    return (name, preset or _default(name), cell.dataset, cell.seed, protocol.name, options, protocol.ties, budget)


@cache
def _default(model: str) -> str:
    return str(registry.models().load(model).default_preset("cpu", NEXT_ITEM.name))


@cache
def _settings(model: str, preset: str) -> dict[str, Any] | None:
    """The settings of a preset as a record keeps them; None where there is no such model or preset any more."""
    try:
        return dict(registry.models().load(model).resolve(preset).model_dump(mode="json"))
    except (UnknownPlugin, BadRequest):
        return None


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
