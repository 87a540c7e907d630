"""Leagues: which models run on which data sets, under which protocols, for the same processor time. The file `leagues.toml` says so."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from recbench.core.budget import Budget
from recbench.core.config import canonical_json
from recbench.core.errors import BadRequest, nearest
from recbench.core.model_card import ModelCard
from recbench.core.records import RunRecord
from recbench.core.tuning import RANDOM
from recbench.tasks.next_item import TASK as NEXT_ITEM

if TYPE_CHECKING:
    from recbench.data import DatasetCard

_FILE = Path(__file__).with_name("leagues.toml")
Kind = Literal["untrained", "learned"]
KINDS: tuple[Kind, ...] = ("untrained", "learned")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LeagueClass(_Part):
    """Data sets of about one size."""

    datasets: tuple[str, ...]
    budget: str
    """Of each model that learns."""
    seeds: PositiveInt
    """Of each model that learns, under leave-one-out."""
    tuned_on: str | None = None
    """Data set of the leagues on which settings of models that learn are searched; None: they are not."""


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
    kinds: tuple[Kind, ...] = KINDS
    has_tuned: bool = False
    """Whether models stand with searched settings too."""
    learned_seeds: PositiveInt | None = None
    """Of each model that learns; None: as many as the class has."""
    repeats: _Repeats | None = None
    """Values of an option of the split, each a split of its own."""

    def splits(self) -> tuple[str, ...]:
        """What `--protocol` is told, one for each repeat."""
        repeats = self.repeats
        return (self.split,) if repeats is None else tuple(f"{self.split}:{repeats.option}={value}" for value in repeats.values)

    def serves(self, dataset: str) -> bool:
        """Whether it is for a data set."""
        return dataset not in self.without and (self.datasets is None or dataset in self.datasets)


class Leagues(_Part):
    """The file `leagues.toml`."""

    untrained: tuple[str, ...]
    untrained_that_draw: tuple[str, ...]
    untrained_seeds: PositiveInt
    tuned: tuple[str, ...] = ()
    tuned_trials: PositiveInt = 40
    learned: tuple[str, ...]
    learned_trials: PositiveInt = 8
    learned_trial_part: PositiveInt = 3
    """A trial has one part in so many of the budget of its data set's class."""
    without_text: tuple[str, ...]
    without_times: tuple[str, ...] = ()
    untimed: Mapping[str, str] = {}
    """What runs in place of a model on data without times; it stands under the model's name."""
    classes: Mapping[str, LeagueClass]
    protocols: Mapping[str, LeagueProtocol]

    def class_of(self, dataset: str) -> str | None:
        """The class that a data set belongs to; None where it is in no league."""
        return next((name for name, of in self.classes.items() if dataset in of.datasets), None)


@dataclass(frozen=True)
class LeagueSearch:
    """A search for settings, by the validation part of its data set.

    Attributes:
        dataset: where the trials are made.
        trials: how many.
        preset: what the drawn settings override; None: the one that the model's card names.
        budget: processor time of each trial; None for a model that is not trained.
    """

    dataset: str
    trials: int
    preset: str | None = None
    budget: str | None = None

    def command(self, model: str) -> str:
        """The command that makes it, for a model by its name."""
        options = [f"--trials {self.trials}"]
        options += [f"--preset {self.preset}"] if self.preset else []
        options += [f"--budget {self.budget}"] if self.budget else []
        return " ".join([f"recbench tune {model} {self.dataset}", *options])


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
        search: for its settings, on this data set or another; None: it stands with its preset.
        stands_for: the model of the league that it runs in place of; None: itself.
    """

    kind: Kind
    model: str
    dataset: str
    seed: int
    protocol: str
    split: str
    ties: str
    budget: str | None
    search: LeagueSearch | None = None
    stands_for: str | None = None

    @property
    def entry(self) -> str:
        """What competes: `NAME`, `NAME:PRESET`, or `NAME:tuned-N` where the settings are the best of N trials."""
        if self.search is not None:
            return f"{self.name}:tuned-{self.search.trials}"
        return self.stands_for or self.model

    @property
    def name(self) -> str:
        """Of the model, without its preset."""
        return self.model.partition(":")[0]

    @property
    def command(self) -> str:
        """The command that runs this cell alone; of searched settings the search, which says how to run them."""
        if self.search is not None:
            return self.search.command(self.name)
        name, _, preset = self.model.partition(":")
        options = [f"-m {name}", f"-d {self.dataset}"]
        options += [f"--preset {preset}"] if preset else []
        options += [f"--protocol {self.split}"] if self.split != NEXT_ITEM.rules[0].name else []
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
        searches = {(cell.name, cell.search) for cell in self.missing if cell.search is not None}
        trials = sum(search.trials * Budget.parse(search.budget).amount for _, search in searches)
        return (trials + sum(Budget.parse(cell.budget).amount for cell in self.missing)) / 3600

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


def cells_of_class(
    name: str, cards: Mapping[str, ModelCard], protocol: str | None = None, kind: str | None = None
) -> tuple[LeagueCell, ...]:
    """The cells of a class, under one protocol or all, untrained models first.

    Args:
        name: of the class.
        cards: of the models known here; a model without one has no cells.
        protocol: of the league; None: all.
        kind: `untrained` or `learned`; None: both.

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
        for cell in _cells(found, found.classes[name], title, how, kind_of_cells, cards)
    )


def _cells(
    found: Leagues, of: LeagueClass, title: str, how: LeagueProtocol, kind: Kind, cards: Mapping[str, ModelCard]
) -> Iterator[LeagueCell]:
    learns = kind == "learned"
    for dataset in filter(how.serves, of.datasets):
        for split in how.splits():
            for model in found.learned if learns else found.untrained:
                card = cards.get(model.partition(":")[0])
                if card is None or not _serves(card, dataset, has_text=dataset not in found.without_text):
                    continue
                n_drawn = found.untrained_seeds if model in found.untrained_that_draw else 1
                runs = found.untimed.get(model, model) if dataset in found.without_times else model
                for seed in range((how.learned_seeds or of.seeds) if learns else n_drawn):
                    budget = of.budget if learns else None
                    yield LeagueCell(kind, runs, dataset, seed, title, split, how.ties, budget, stands_for=model)
            if how.has_tuned:
                yield from _tuned(found, of, title, how, split, dataset, kind, cards)


def _tuned(
    found: Leagues,
    of: LeagueClass,
    title: str,
    how: LeagueProtocol,
    split: str,
    dataset: str,
    kind: Kind,
    cards: Mapping[str, ModelCard],
) -> Iterator[LeagueCell]:
    """Models with searched settings: untrained ones by a search on the data set itself, those that learn by one for their class."""

    def serves(model: str, *datasets: str) -> bool:
        card = cards.get(model.partition(":")[0])
        return (
            card is not None
            and card.tune is not None
            and all(_serves(card, name, has_text=name not in found.without_text) for name in datasets)
        )

    if kind == "untrained":
        for model in filter(lambda model: serves(model, dataset), found.tuned):
            search = LeagueSearch(dataset, found.tuned_trials)
            yield LeagueCell(kind, model, dataset, 0, title, split, how.ties, None, search)
        return
    if of.tuned_on is None:
        return
    # One search for each model, whatever presets of it compete.
    first = {model.partition(":")[0]: model for model in reversed(found.learned)}
    for model in dict.fromkeys(first[model.partition(":")[0]] for model in found.learned):
        if not serves(model, dataset, of.tuned_on):
            continue
        runs = found.untimed.get(model, model) if of.tuned_on in found.without_times else model
        own = next(other for other in found.classes.values() if of.tuned_on in other.datasets)
        trial = replace(budget := Budget.parse(own.budget), amount=budget.amount / found.learned_trial_part).text
        search = LeagueSearch(of.tuned_on, found.learned_trials, runs.partition(":")[2] or None, trial)
        yield LeagueCell(kind, runs, dataset, 0, title, split, how.ties, of.budget, search)


def _serves(card: ModelCard, dataset: str, *, has_text: bool) -> bool:
    """Whether the cards say that a data set has what a model needs."""
    from recbench.core.interactions import TimeKind

    about = _card_of(dataset)
    lacks_time = "time" in card.needs and about.time != TimeKind.SECONDS.value
    lacks_text = "item_text" in card.needs and not has_text
    too_large = card.max_items is not None and (about.counts.items or 0) > card.max_items
    return not (lacks_time or lacks_text or too_large or set(card.needs_columns) - set(about.model_columns))


@cache
def _card_of(dataset: str) -> "DatasetCard":
    """Read once: every model of a league asks for it."""
    from recbench.data import dataset_card

    return dataset_card(dataset)


def standing(cells: Iterable[LeagueCell], records: Iterable[RunRecord], cards: Mapping[str, ModelCard]) -> Standing:
    """Which of the cells have no record yet."""
    done = {key for record in records for key in record_keys(record, cards)}
    every = tuple(cells)
    return Standing(every, tuple(cell for cell in every if cell_key(cell, cards) not in done))


def record_keys(record: RunRecord, cards: Mapping[str, ModelCard]) -> tuple[str, ...]:
    """The key of the cell that a record could stand for; none where it has other settings, one view, another device or other lists."""
    model, protocol, tuned = record.model, record.protocol, record.tuned
    card = cards.get(model.name)
    if card is None:
        return ()
    settings = [model.preset] if model.preset in card.presets and not card.changed_settings(record) else []
    if tuned is not None:
        is_here = tuned.valid == record.fingerprints.valid
        # Searches from other presets would be further tries of one entry.
        is_own = is_here and card.tune is not None and model.preset == card.tune.preset
        # All models of a league are searched alike.
        is_alike = tuned.sampler == RANDOM and tuned.pruned is None
        settings = [f"tuned-{tuned.trials}"] if is_own and is_alike else []
        if is_alike and record.budget is not None and is_here == (tuned.dataset == record.dataset.name):
            settings.append(_searched(model.preset, tuned.trials, tuned.dataset, tuned.budget))
    counts = (
        record.task == NEXT_ITEM.name
        and protocol.views == NEXT_ITEM.views
        and protocol.list_length == NEXT_ITEM.list_length
        and record.device.type == "cpu"
        and record.foreign is None
    )
    of_split = _split_key(protocol.split, protocol.split_options, protocol.ties)
    return tuple(_key(model.name, one, record.dataset.name, record.seed, of_split, record.budget) for one in settings) if counts else ()


def cell_key(cell: LeagueCell, cards: Mapping[str, ModelCard]) -> str:
    """What a cell and its record have in common."""
    name, _, preset = cell.model.partition(":")
    protocol = NEXT_ITEM.protocol(cell.split, cell.ties)
    of_split = _split_key(protocol.name, protocol.options, protocol.ties)
    settings = preset or cards[name].default_preset("cpu", NEXT_ITEM.name)
    search = cell.search
    if search is not None and search.budget is None:
        settings = f"tuned-{search.trials}"
    elif search is not None:
        settings = _searched(settings, search.trials, search.dataset, Budget.parse(search.budget).text)
    return _key(name, settings, cell.dataset, cell.seed, of_split, Budget.parse(cell.budget).text)


def _searched(preset: str, trials: int, dataset: str, budget: str | None) -> str:
    return f"{preset}, the best of {trials} trials on {dataset}, each of {budget}"


def _split_key(split: str, options: Mapping[str, Any], ties: str) -> str:
    return canonical_json([split, dict(options), ties])


def _key(model: str, settings: str, dataset: str, seed: int, of_split: str, budget: str | None) -> str:
    return canonical_json([model, settings, dataset, seed, of_split, budget])
