"""Training a plugin on a split, as a stage."""

import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from recbench.core.budget import Budget
from recbench.core.config import PluginConfig, hash_value
from recbench.core.elapsed import Elapsed
from recbench.core.errors import BadData, BadRequest, BudgetTooSmall, PluginFailed, Pruned, Untrained, nearest
from recbench.core.interactions import ItemTable
from recbench.core.model_card import ModelCard
from recbench.core.plugin import Catalogue, CurvePoint, FitReport, Parameters, Plugin, World
from recbench.core.progress import Progress
from recbench.core.records import StagePart
from recbench.data import Split, column_digest
from recbench.running.host.machine import Machine
from recbench.running.run.consumption import CONSUMPTION_FILE, Consumed, Consumption
from recbench.running.run.fit_context import FinalRanking, Listener, RunContext
from recbench.running.run.fit_reports import checked_report
from recbench.running.run.guard import GuardedModel, refuse_unknown_modules, reveal_imports
from recbench.running.stages.build_time import AttemptClock
from recbench.running.stages.facts import Count, Facts, Seconds
from recbench.running.stages.keys import hash_times, named_content, plugin_source_hash
from recbench.running.stages.outside_modules import loaded_modules
from recbench.running.stages.store import Stage, StageStore
from recbench.tasks import Task

MODEL_FOLDER = "model"
ARTEFACT_FOLDER = "artefacts"
REPORT_FILE = "report.json"
TIMES_FILE = "times.json"
"""File of all that differs between two equal trainings; everything else in the stage is the same to the byte."""
log = logging.getLogger(__name__)


class _Times(Facts):
    """Times and stages, in which two equal trainings differ."""

    curve_seconds: tuple[Seconds, ...]
    resumed_at: Count | None
    lineage: tuple[StagePart, ...]


def training_stage(model: str) -> str:
    """The name of the stage that trains a model."""
    return f"training-{model}"


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, with the report and the stages of its training."""

    recommender: GuardedModel
    report: FitReport
    stage: Stage
    lineage: tuple[StagePart, ...]
    """Every stage that the training asked for, then the training itself."""
    consumed: Consumed
    """What was asked for and is known of the training and of all that it asked for."""


@dataclass(frozen=True)
class Trainer:
    """Parts that trainings of one run share."""

    task: Task
    split: Split
    machine: Machine
    store: StageStore
    progress: Progress
    budget: Budget
    world: World
    load_plugin: Callable[[str], Plugin]
    final_ranking: FinalRanking | None = None
    """Ranking after the training, for which a budget of seconds keeps time."""
    listeners: tuple[Listener, ...] = ()
    """Are told how far the training is; of models that it asks for they hear nothing."""
    consumption: Consumption | None = None
    """Measures the training; None: nobody asked."""

    @property
    def catalogue(self) -> Catalogue:
        """Sizes that models are built from."""
        return Catalogue(n_items=len(self.split.items), n_users=len(self.split.user_ids))

    def inputs(self, plugin: Plugin) -> dict[str, Any]:
        """Parts of the key of every stage of a plugin here: its sources, the train and validation parts, the kind of machine.

        The test part is not in it: a change of test targets must leave every training untouched.
        """
        cards = (plugin.card, *(used.card for used in used_by(plugin, self.load_plugin)))
        # Fingerprints say which items and in which order, not when: only models that read times depend on those.
        reads_time = any(card.reads_time for card in cards)
        times = {"times": hash_times(self.split.train.seconds, self.split.valid.timestamp)} if reads_time else {}
        columns, prints = column_digests(cards, self.split.items), self.split.fingerprints
        feedback = {"feedback": prints.feedback} if prints.feedback and any(card.reads_feedback for card in cards) else {}
        features = {"features": prints.features} if prints.features and any(card.reads_features for card in cards) else {}
        return {
            "plugin": plugin.card.name,
            "validation_users": plugin.card.validation_users,
            "validation": [self.task.validation_view, *self.task.validation_metrics],
            "source": plugin_source_hash(plugin.folder),
            "train": self.split.fingerprints.train,
            "valid": self.split.fingerprints.valid,
            "items": hash_value(list(self.split.items.item_ids)),
            "item_text": self.split.fingerprints.item_text if any(card.reads_text for card in cards) else None,
            **times,
            **feedback,
            **features,
            **({"model_columns": columns} if columns else {}),
            "precision": self.machine.precision,
            "device": self.machine.type,
            "architecture": platform.machine(),
            "world_size": self.world.size,
        }

    def train(self, plugin: Plugin, config: PluginConfig, seed: int, budget_text: str | None) -> TrainedModel:
        """The plugin trained with these settings, from the cache or now."""
        card = plugin.card
        check_needs(plugin, self.split)
        catalogue = self.catalogue
        reveal_imports(plugin, config, catalogue)
        inputs = self.inputs(plugin)
        parts = self._parts(plugin, config, seed, budget_text, inputs)
        # A model that shares no work is trained by rank 0 while the others wait: nothing in there may wait for them.
        worker = self if card.distributed else replace(self, world=World(), store=self.store.alone())
        asked: list[StagePart] = []
        model_log = logging.getLogger(f"recbench.model.{card.name}")
        name = training_stage(card.name)

        def fit(folder: Path) -> None:
            key = self.store.key(name, parts)
            context = RunContext(
                plugin=plugin,
                seed=seed,
                device=self.machine.device,
                precision=self.machine.precision,
                threads=self.machine.threads,
                progress=self.progress,
                budget=self.budget,
                log=model_log,
                _checkpoints=self.store.partial(name, key),
                _task=self.task,
                _split=self.split,
                _store=worker.store,
                _inputs={**inputs, "seed": seed},
                _train_other=worker._vectors_of,
                final_ranking=self.final_ranking,
                world=worker.world,
                stages=asked,
                listeners=self.listeners,
            )
            before = loaded_modules()
            recommender = GuardedModel(plugin, config, catalogue, self.budget)
            with _discarding(self.store.partial(name, key), card.name, asked):
                with nullcontext() if self.consumption is None else self.consumption.measuring():
                    report = recommender.fit(context)
                _refuse_untrained(report, self.budget)
            refuse_unknown_modules(plugin, before)
            if self.world.rank == 0:
                recommender.save(_made(folder / MODEL_FOLDER))
                write_report(keep_artefacts(report, folder, card.name), asked, folder)
                if self.consumption is not None and report.resumed_at is None and not any(part.reused for part in asked):
                    self.consumption.consumed.write(folder / CONSUMPTION_FILE)

        stage = self.store.get(name, parts, fit, together=card.distributed)
        recommender = GuardedModel(plugin, config, catalogue, self.budget)
        recommender.load(stage.folder / MODEL_FOLDER)
        recommender.to(self.machine.device)
        report, lineage = read_report(stage.folder, card.name)
        if stage.reused:
            lineage = [part.model_copy(update={"reused": True}) for part in lineage]
        own = stage.part().model_copy(update={"steps": report.steps, "stopped_by": report.stopped_by})
        return TrainedModel(recommender, report, stage, (*lineage, own), self._consumed(stage, lineage))

    def _consumed(self, stage: Stage, lineage: Sequence[StagePart]) -> Consumed:
        """What the training consumed; what was not asked for, or not measured when it ran, is None."""
        asked = () if self.consumption is None else self.consumption.asked
        path = stage.folder / CONSUMPTION_FILE
        known = Consumed.read(path) if asked and path.is_file() else Consumed()
        found = Consumed(
            energy_kwh=known.energy_kwh if "energy" in asked else None,
            flops=known.flops if "flops" in asked else None,
        )
        missing = [name for name, value in (("energy", found.energy_kwh), ("flops", found.flops)) if name in asked and value is None]
        if missing:
            cached = [stage.name] if stage.reused else [part.name for part in lineage if part.reused]
            why = f"{', '.join(cached)} was in the cache" if cached else "it went on after a stop"
            log.warning("%s of the training is not known: %s. --rerun STAGE computes a stage again.", " and ".join(missing), why)
        return found

    def _parts(self, plugin: Plugin, config: PluginConfig, seed: int, budget_text: str | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Parts of the key of a training: what every stage of the plugin depends on, settings, budget, models that it may ask."""
        # Presets stand in the card, which is no source; an asker may take another model's by name or by default.
        used = {
            other.card.name: {
                "source": plugin_source_hash(other.folder),
                "presets": other.card.presets,
                "default": other.card.default.model_dump(),
            }
            for other in used_by(plugin, self.load_plugin)
        }
        parts = {**inputs, "config": config.model_dump(mode="json"), "seed": seed, "budget": budget_text, "uses": used}
        if self.budget.sets_length:
            parts["length"] = "the budget alone"  # before, epochs and then patience ended such a training too
        return parts | named_content(config)

    def _vectors_of(
        self, model: str, preset: str | None, overrides: Mapping[str, Any], seed: int, asker: RunContext, trainings_left: int
    ) -> NDArray[np.float32]:
        plugin = self.load_plugin(model)
        config = plugin.resolve(preset or plugin.default_preset(self.machine.device, self.task.name), None, overrides)
        budget = asker.budget.auxiliary(trainings_left)
        trainer = replace(self, budget=budget, final_ranking=None, listeners=(), consumption=None)
        if asker.world.size < self.world.size:
            # Whoever asks alone must not wait for processes that do not ask.
            trainer = replace(trainer, world=World(), store=self.store.alone())
        trained = trainer.train(plugin, config, seed, asker.budget.auxiliary_text(trainings_left))
        asker.note_auxiliary(trained.lineage, steps=trained.report.steps, examples=trained.report.examples_seen)
        return trained.recommender.item_vectors(asker.plugin.card.name)


def used_by(plugin: Plugin, load_plugin: Callable[[str], Plugin]) -> list[Plugin]:
    """The plugins whose vectors this one may ask for, those that they ask in turn included."""
    found: dict[str, Plugin] = {}
    waiting = list(plugin.card.uses)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = load_plugin(name)
            waiting += found[name].card.uses
    return list(found.values())


def column_digests(cards: Iterable[ModelCard], items: ItemTable) -> dict[str, str]:
    """The model columns that these cards name and the data set has, each with its digest."""
    named = sorted({name for card in cards for name in card.needs_columns})
    return {name: column_digest(items, name) for name in named if name in items.model_columns}


def check_needs(plugin: Plugin, split: Split) -> None:
    """Raises a `BadRequest` where the data set cannot serve the model."""
    card, items = plugin.card, split.items
    for name in card.needs_columns:
        if name not in items.model_columns:
            raise BadRequest(
                f"Model {card.name!r} reads the item column {name!r}, which this data set does not hand to models."
                f"{nearest(name, items.model_columns)} Choose another model or data set. A column is handed to models where the card of "
                "the data set names it under model_columns and some item has a value in it."
            )
    if "item_text" in card.needs and not items.has_text:
        raise BadRequest(f"Model {card.name!r} reads item text and this data set has none. Choose another model or data set.")
    if "feedback" in card.needs and split.feedback is None:
        raise BadRequest(
            f"Model {card.name!r} reads users' feedback on items and this data set has none. Choose another model or data set."
        )
    if "features" in card.needs and not split.features:
        raise BadRequest(
            f"Model {card.name!r} reads item vectors that come with the data and this data set has none. Choose another model or data set."
        )
    if "time" in card.needs and split.train.time != "seconds":
        raise BadRequest(
            f"Model {card.name!r} needs real times and this data set's time stamps are of kind {split.train.time.value!r}. "
            f"Choose another model or data set."
        )
    beyond = card.beyond_size(len(items), psutil.virtual_memory().total)
    if beyond:
        raise BadRequest(f"Model {card.name!r} is not applicable: {beyond}. Choose another model or a smaller data set.")


@contextmanager
def _discarding(partial: Path, model: str, asked: Sequence[StagePart]) -> Iterator[None]:
    """Leaves no state of a training that is not worth going on from, and says what it cost."""
    began, earlier = Elapsed.now(), AttemptClock(partial).before
    try:
        yield
    except (BudgetTooSmall, Untrained) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise type(error)(f"Model {model!r}: {error}{_account(asked)}") from error
    except Pruned as stopped:
        shutil.rmtree(partial, ignore_errors=True)
        stopped.elapsed = Elapsed.now() - began + sum((part.elapsed for part in asked if part.reused), earlier)
        raise


def _refuse_untrained(report: FitReport, budget: Budget) -> None:
    """Raise `Untrained` for a model with weights to train that made no step."""
    if report.steps == 0 and report.parameters.trainable > 0 and (report.examples_possible > 0 or report.stopped_by == "budget"):
        raise Untrained(f"training {budget.used_up_before()}")


def _account(stages: Sequence[StagePart]) -> str:
    """Account of the time before the training itself, as a sentence; of the stages that it asked for the longest first."""
    longest = sorted(stages, key=lambda part: -part.seconds)
    took = ", ".join(f"{part.name} {part.seconds:.1f} s" for part in longest)
    return f" Stages that it asked for: {took}." if took else " It asked for no other stage: the program's start and the data come before."


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A second name for a file of the cache, or a copy where the file system has none: weights can be gigabytes."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def keep_artefacts(report: FitReport, folder: Path, model: str) -> FitReport:
    """The report with its artefacts inside the stage's own folder: the stages they come from may be cleaned away before this one."""
    kept = {}
    for name, path in report.artefacts.items():
        if not path.is_file():
            raise PluginFailed(
                f"Model {model!r}: fit names {path} as its artefact {name!r}, which is no file. Write it before fit returns."
            )
        real, roots = path.resolve(), (folder.parent.resolve(), Path(tempfile.gettempdir()).resolve())
        if not any(real.is_relative_to(root) for root in roots):
            raise PluginFailed(
                f"Model {model!r}: fit names {path} as its artefact {name!r}, which lies outside the cache. "
                "Write it below context.checkpoints or in a stage."
            )
        kept[name] = _made(folder / ARTEFACT_FOLDER) / f"{name}{path.suffix}"
        link_or_copy(real, kept[name])
    return replace(report, artefacts=kept)


def write_report(report: FitReport, lineage: list[StagePart], folder: Path) -> None:
    """The report in two files: what equal trainings share, and times with the stages used. Artefacts lie below `folder`."""
    values = asdict(report)
    values["artefacts"] = {name: path.relative_to(folder).as_posix() for name, path in report.artefacts.items()}
    times = _Times(
        curve_seconds=tuple(point.pop("seconds") for point in values["curve"]),
        resumed_at=values.pop("resumed_at"),
        lineage=tuple(lineage),
    )
    (folder / REPORT_FILE).write_text(json.dumps(values, indent=1, sort_keys=True), encoding="utf-8")
    times.write(folder / TIMES_FILE)


def read_report(folder: Path, model: str) -> tuple[FitReport, list[StagePart]]:
    """Read the report of a model's training that `write_report` wrote; a `BadData` where it is damaged."""
    times = _Times.read(folder / TIMES_FILE)
    content = (folder / REPORT_FILE).read_bytes()
    try:
        values = json.loads(content)
        curve = [CurvePoint(**point, seconds=seconds) for point, seconds in zip(values.pop("curve"), times.curve_seconds, strict=True)]
        parameters = Parameters(**values.pop("parameters"))
        artefacts = {name: folder / path for name, path in values.pop("artefacts").items()}
        report = FitReport(**values, parameters=parameters, curve=curve, artefacts=artefacts, resumed_at=times.resumed_at)
        return checked_report(report, model), list(times.lineage)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PluginFailed) as error:
        raise BadData(f"{folder / REPORT_FILE} is damaged: {error}. Delete the folder {folder}; it is built again.") from None
