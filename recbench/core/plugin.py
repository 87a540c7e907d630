"""The contract between the harness and a model."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import ValidationError

from recbench.core.budget import Budget
from recbench.core.config import (
    PluginConfig,
    by_dotted_name,
    canonical_json,
    explain,
    flatten_preset,
    nearest_setting,
    nested,
    setting_names,
)
from recbench.core.containment import contained
from recbench.core.errors import BadConfig, BadRequest
from recbench.core.model_card import ModelCard, load_card
from recbench.core.progress import Progress
from recbench.core.ranking import Queries, Rankings
from recbench.core.tuning import TuneCard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recbench.core.features import Features
    from recbench.core.interactions import Interactions, ItemTable, StringArray
    from recbench.core.ragged import Histories

Precision = Literal["fp32", "bf16"]
MOST_DRAWS = 100
"""How often a trial of a search is drawn anew where the settings refuse what was drawn."""


@dataclass(frozen=True)
class Catalogue:
    """Sizes of a data set that a model needs before it can be built or loaded."""

    n_items: int
    n_users: int


@dataclass(frozen=True)
class World:
    """The processes that train together; one unless started by torchrun."""

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class Validation:
    """One look at the validation users."""

    metrics: Mapping[str, float]
    """Such as `ndcg@10`; means over the users looked at. The first is the one to choose settings and epochs by."""
    n_users: int
    is_subset: bool
    """A fixed part of the users only, as generative models are validated during training."""
    seconds: float

    @property
    def metric(self) -> str:
        """Name of the metric to choose by."""
        return next(iter(self.metrics))

    @property
    def value(self) -> float:
        """Value of the metric to choose by; higher is better."""
        return self.metrics[self.metric]


@dataclass
class CurvePoint:
    """One row of `curve.csv`; what was not measured at that step is None."""

    step: int
    epoch: float
    seconds: float
    loss: float | None = None
    learning_rate: float | None = None
    validation: Mapping[str, float] | None = None
    training: str = ""
    """Name of the training within the model, of which there may be several."""


@dataclass
class Parameters:
    """How many numbers a model learnt."""

    total: int = 0
    trainable: int = 0
    embedding: int = 0


@dataclass
class FitReport:
    """Result of a training. A model that only counts leaves most of it at its default."""

    steps: int = 0
    epochs: float = 0.0
    examples_seen: int = 0
    """(history, target) pairs that entered a loss, repeats counted."""
    examples_possible: int = 0
    """Distinct (history, target) pairs of the train part."""
    parameters: Parameters = field(default_factory=Parameters)
    curve: list[CurvePoint] = field(default_factory=list)
    chosen: Mapping[str, float | int | str] = field(default_factory=dict)
    """Values that validation selected: a step, a lambda, a window."""
    stopped_by: str = "done"
    """`done`, `patience`, `budget`."""
    resumed_at: int | None = None
    """The step at which training went on after a stop; None where it ran through."""
    artefacts: Mapping[str, Path] = field(default_factory=dict)
    """Files in standard formats: `codes` (codes.parquet), `vectors` (npy, a row per item; one more behind them may be that of the empty
    text), `spaces` (npz, see `recbench.evaluation.domination`)."""


@runtime_checkable
class Ranker(Protocol):
    """Anything that answers queries."""

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k best items of each query in each view asked for; what batch a query stands in must not matter."""


class FitContext(Protocol):
    """All that training may know and use. Validation and test targets are not in here."""

    @property
    def train(self) -> "Interactions":
        """The train part."""

    @property
    def items(self) -> "ItemTable":
        """The item table."""

    @property
    def feedback(self) -> "Histories | None":
        """Items that people used beside the sets of the train part: row p lists those of person p, ascending, each once, without pairs
        that would tell the rest of a held set. None where the data set has none or the card does not say that it is read."""

    @property
    def features(self) -> "Mapping[str, Features]":
        """Vectors of the items by name; empty where the data set brings none or the card does not say that they are read."""

    @property
    def user_ids(self) -> "StringArray":
        """The source's ids of the users of the train part, (n_users,)."""

    @property
    def seed(self) -> int:
        """Random seed of this run."""

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `cuda:N`."""

    @property
    def precision(self) -> Precision:
        """Precision of matrix products in training."""

    @property
    def threads(self) -> int:
        """For computing on the CPU."""

    @property
    def world(self) -> World:
        """The processes that train together."""

    @property
    def progress(self) -> Progress:
        """Progress display for long work."""

    @property
    def budget(self) -> Budget:
        """Training budget that is left."""

    @property
    def log(self) -> logging.Logger:
        """Log of the run, kept as log.txt in its folder."""

    @property
    def checkpoints(self) -> Path:
        """A folder that survives a kill and is thrown away when training, or the stage this context works for, is complete."""

    def generator(self, *names: str | int) -> "np.random.Generator":
        """A random stream of the run's seed; equal names give equal numbers."""

    def validate(self, ranker: Ranker, *, all_users: bool = False) -> Validation:
        """Rank the validation users with `ranker` (the view that the task validates in).

        Args:
            ranker: anything with `generate`; the model itself or one of its stages.
            all_users: rank every user even where a fixed subset is the custom (family `generative`).
        """

    def note(self, point: CurvePoint, *, examples: int, validations: int) -> None:
        """Tell how far a training is, for trackers and for a search that stops trials: it may raise `Pruned`, and changes nothing else.

        `recbench.nn.training.train` calls it for each point of its curve.

        Args:
            point: newest point of the curve.
            examples: (history, target) pairs seen so far.
            validations: how often this training was validated so far, attempts before a stop included.
        """

    def rehearse(self, ranker: Ranker) -> None:
        """Time the ranking of a few users with the untrained model, and set aside what ranking all test users will take.

        `recbench.nn.training.train` calls it; a model with a training loop of its own calls it before the first step. It does
        nothing where the budget is not one of seconds.
        """

    def stage(
        self,
        name: str,
        build: Callable[[Path], None],
        *,
        config: Mapping[str, Any],
        inputs: Sequence[str | Path] = (),
        trains: bool = False,
        trainings_left: int = 0,
    ) -> Path:
        """A folder that `build` filled, now or in an earlier run.

        Args:
            name: of the stage, unique within the plugin.
            build: writes into the empty folder it is given; runs once per key, whoever asks.
            config: the settings that shape the result.
            inputs: keys of other stages, or files whose content matters.
            trains: `build` trains a network. `alone().budget` is then the run's auxiliary budget (see `Budget.auxiliary`), which
                becomes a part of the key.
            trainings_left: how many auxiliary trainings the model will ask for after this one; they share that budget equally.
        """

    def common_stage(
        self,
        name: str,
        build: Callable[[Path], None],
        *,
        config: Mapping[str, Any],
        inputs: Sequence[str | Path] = (),
        trains: bool = False,
        trainings_left: int = 0,
        together: bool = False,
    ) -> Path:
        """A folder that `build` filled for whichever plugin asked first: text vectors, item codes.

        Its key knows neither plugin nor split nor seed nor, unless it trains, budget: only name, `config`, `inputs`, the sources
        of the module in which `build` is defined with all of `recbench.nn` that it reaches, precision, kind of device and
        processor. What else shapes the result must stand in `config` or `inputs`. Under torchrun rank 0 builds and the others wait,
        unless `together`: so `build` may train only with what `alone` gives it.

        Args:
            name: of the stage, unique among common stages.
            build: writes into the empty folder it is given.
            config: the settings that shape the result; a `seed` in it is the seed of `alone` within `build`.
            inputs: folders of other stages or files, by content; or keys.
            trains: as for `stage`.
            trainings_left: likewise.
            together: under torchrun every rank calls `build`, which shares the work by what `together` gives it; each is given an empty
                folder, and that of rank 0 is kept. All ranks must ask for the stage.
        """

    def alone(self) -> "FitContext":
        """This process without its group, for work that rank 0 does for all.

        Within the `build` of a stage it also has a folder of checkpoints that belongs to that stage, and the auxiliary budget of
        the run where the stage trains, else none. Within that of a common stage it has the seed that stands in the stage's config
        (0 where none does), so that the result depends on nothing else of the run.
        """

    def together(self) -> "FitContext":
        """As `alone`, but with the group: for the `build` of a common stage that all ranks call."""

    def item_vectors(
        self,
        model: str,
        *,
        preset: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        seed: int | None = None,
        trainings_left: int = 0,
    ) -> "NDArray[np.float32]":
        """Item vectors (n_items, d) of another plugin, trained on this very split. The card must list it under `uses`.

        Args:
            model: name of the plugin.
            preset: its settings; None: its default.
            overrides: settings in place of the preset's, by dotted names.
            seed: of its training; None: the run's.
            trainings_left: as for `stage`.
        """


class Recommender(Ranker, Protocol):
    """A model. Four methods, no base class; `Movable` is a fifth that it may have."""

    def fit(self, context: FitContext) -> FitReport:
        """Learn from the train part."""

    def save(self, folder: Path) -> None:
        """Write all that `generate` needs: safetensors and JSON, nothing pickled."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; the data set is not there any more."""


@runtime_checkable
class Movable(Protocol):
    """A model that can answer on another device than the CPU. One without this method answers where it is."""

    def to(self, device: str) -> None:
        """Move to where the run computes: `cpu`, `cuda` or `cuda:N`. Called after `load`; `fit` is told by its context."""


@dataclass(frozen=True)
class Plugin:
    """A model as an entry point of the group `recbench.models` names it. Importing it imports no torch.

    Attributes:
        card: who the model is.
        config: the class of its settings.
        build: makes an untrained model from settings and catalogue; may import torch.
        folder: where the plugin's sources lie; their hash is part of every stage key.
    """

    card: ModelCard
    config: type[PluginConfig]
    build: Callable[[Any, Catalogue], Recommender]
    folder: Path

    @classmethod
    def from_folder(cls, init_file: str, config: type[PluginConfig], build: Callable[[Any, Catalogue], Recommender]) -> "Plugin":
        """The plugin whose `__init__.py` is `init_file`, with the `card.toml` beside it."""
        folder = Path(init_file).resolve().parent
        return cls(load_card(folder / "card.toml"), config, build, folder)

    def default_preset(self, device: str, task: str) -> str:
        """The preset that a machine of this kind gets for a task."""
        return self.card.default_preset(device, task)

    def resolve(
        self, preset: str, file_values: Mapping[str, Any] | None = None, overrides: Mapping[str, Any] | None = None
    ) -> PluginConfig:
        """Settings by the one rule of precedence: defaults < preset < config file < `--set`; groups are merged, a setting is replaced."""
        name = self.card.name
        values = flatten_preset(self.card.presets, preset, f"Model {name!r}", self.config)
        for layer in (file_values or {}, overrides or {}):
            values |= by_dotted_name(layer, self.config)
        with contained(f"model {name!r}", "its settings"):
            try:
                config = self.config.model_validate(nested(values))
            except ValidationError as error:
                raise explain(error, setting_names(self.config), f"Model {name!r}", self.card.moved) from None
            # Keys and records write the settings down; a class that cannot say its own values shall fail here, under its name.
            canonical_json(config.model_dump(mode="json")).encode()
            config.model_dump_json()
            return config

    def trial(self, number: int, seed: int, preset: str) -> tuple[dict[str, Any], PluginConfig]:
        """Values drawn for one trial of a search over the card's space, and the settings that they make of a preset.

        Draws that the settings refuse, such as a number of heads that does not divide the width, are drawn again.

        Raises:
            BadConfig: the card declares no space, or one that does not fit the settings.
        """
        tune = self.tune_card()
        # A search of before settings were nested draws the same when it is repeated.
        streams = {new: old for old, new in self.card.moved.items()}
        for attempt in range(MOST_DRAWS):
            values = tune.draw(self.card.name, seed, number, attempt, streams)
            try:
                return values, self.resolve(preset, None, values)
            except BadConfig as error:
                if number == 0:
                    raise
                fault = error
        raise BadConfig(f"The card of {self.card.name!r}: {MOST_DRAWS} draws for trial {number} were all refused, the last so: {fault}")

    def grid(self, n_trials: int, seed: int, preset: str) -> list[tuple[dict[str, Any], PluginConfig]]:
        """Values and settings of the trials of a search over the grid of the card's space, the preset itself first.

        Points that the settings refuse, or that are the preset, are left out.

        Raises:
            BadConfig: as `trial`.
            BadRequest: the grid has fewer points than trials were asked for, or too many to lay out.
        """
        tune = self.tune_card()
        found: list[tuple[dict[str, Any], PluginConfig]] = [({}, self.resolve(preset))]
        for values in tune.grid(self.card.name, seed):
            if len(found) == n_trials:
                break
            with suppress(BadConfig):
                config = self.resolve(preset, None, values)
                if config != found[0][1]:
                    found.append((values, config))
        if len(found) < n_trials:
            raise BadRequest(
                f"--trials {n_trials}: the grid over the space of {self.card.name!r} has {len(found):,} settings, the preset among them. "
                f"Give --trials {len(found)}, or take --sampler random or tpe."
            )
        return found

    def tune_card(self) -> TuneCard:
        """The space that a search goes over.

        Raises:
            BadConfig: the card declares none, or one that does not fit the settings.
        """
        tune = self.card.tune
        if tune is None:
            raise BadConfig(f"The card of {self.card.name!r} declares no space to search. Add a section [tune], or take another model.")
        known = setting_names(self.config)
        unknown = [name for name in tune.space if name not in known]
        if unknown:
            hint = nearest_setting(unknown[0], known)
            raise BadConfig(f"The card of {self.card.name!r} searches {unknown[0]!r}, which is no setting.{hint} Correct it.")
        return tune

    @cached_property
    def full_card(self) -> ModelCard:
        """The card with every setting in each preset, those left at their defaults too: what a run's settings are held against."""
        presets = {name: self.resolve(name).model_dump(mode="json") for name in self.card.presets}
        return self.card.model_copy(update={"presets": presets})

    def row_name(self, preset: str, config: PluginConfig) -> str:
        """`model:preset`, then the loss, the text encoder and what else the card says matters; `+` stands between the parts of a list."""
        values = by_dotted_name(config.model_dump(mode="json"), self.config)
        for key in (*self.card.label, *self.card.label_unless_default):
            if key not in values:
                hint = nearest_setting(key, list(values))
                raise BadConfig(f"The card of {self.card.name!r} labels rows by {key!r}, which is no setting.{hint} Correct it.")

        def written(key: str) -> str:
            return "+".join(map(str, values[key])) if isinstance(values[key], list) else str(values[key])

        parts = [written(key) for key in self.card.label if values[key] is not None]
        if self.card.label_unless_default:
            usual = by_dotted_name(self.config().model_dump(mode="json"), self.config)
            changed = [key for key in self.card.label_unless_default if values[key] != usual[key]]
            parts += [f"{key.rpartition('.')[2]}={written(key)}" for key in changed]
        return f"{self.card.name}:{preset}" + (f" ({', '.join(parts)})" if parts else "")
