"""Resolving a request: model, settings, machine, protocol, and the identity of the run."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.config import PluginConfig, config_hash, hash_value
from recbench.core.errors import BadRequest, nearest
from recbench.core.model_card import ModelCard
from recbench.core.plugin import Plugin, World
from recbench.core.ranking import View
from recbench.data import SplitProtocol
from recbench.running.host.machine import Machine
from recbench.running.requests import MOST_JOBS, PlanRequest, RunRequest, refuse_count, refuse_seed
from recbench.running.run.fit_context import FinalRanking
from recbench.running.run.folders import RunName
from recbench.running.run.ranking import RANKING_STAGE
from recbench.running.run.references import reference_models
from recbench.running.run.searched_settings import TunedSettings, read_search, read_settings
from recbench.running.run.splits import LoadedSplit
from recbench.running.run.training import column_digests, training_stage, used_by
from recbench.running.stages.keys import hash_times, named_content, plugin_source_hash
from recbench.running.stages.store import cache_entries
from recbench.tasks import Task, task_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolved:
    """A fully resolved run request."""

    request: RunRequest
    started: datetime
    command: tuple[str, ...]
    """The command as it was typed."""
    budget: Budget
    plugin: Plugin
    load_plugin: Callable[[str], Plugin]
    distribution: str
    preset: str
    config: PluginConfig
    machine: Machine
    world: World
    task: Task
    views: tuple[View, ...]
    protocol: SplitProtocol
    references: tuple[Plugin, ...]
    """Cheap models that the run is shown beside."""
    tuned: TunedSettings | None
    """The search that gave these settings."""

    @property
    def row_name(self) -> str:
        """Name of the run in tables."""
        return self.plugin.row_name(self.preset, self.config)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return self.config.model_dump(mode="json")

    @cached_property
    def cards(self) -> tuple[ModelCard, ...]:
        """The cards of the model and of those whose vectors it may ask for."""
        return (self.plugin.card, *(used.card for used in used_by(self.plugin, self.load_plugin)))

    @property
    def config_hash(self) -> str:
        """Hash that is equal for runs which differ only in their seed."""
        card = self.plugin.card
        return config_hash(card.name, self.settings, self.budget.text, card.moved, card.added)

    @property
    def final_ranking(self) -> FinalRanking:
        """Views and list length of the ranking of the test users."""
        return FinalRanking(self.views, self.task.list_length)

    @cached_property
    def named(self) -> dict[str, Any]:
        """Content and revisions of files and models that the settings name; missing ones are fetched."""
        return named_content(self.config)

    def name(self, loaded: LoadedSplit) -> RunName:
        """The run's name, with the hash of all that a finished record must share to be the answer."""
        identity = {
            "model": self.plugin.card.name,
            "source": plugin_source_hash(self.plugin.folder),
            "config": self.config_hash,
            "seed": self.request.seed,
            "fingerprints": loaded.split.fingerprints.model_dump(mode="json"),
            "dataset": loaded.card.name,
            "protocol": self.protocol.identity(),
            "views": list(self.views),
            "list_length": self.task.list_length,
            "precision": self.machine.precision,
            "device": self.machine.type,
            "world_size": self.world.size,
        }
        cards = self.cards
        if any(card.reads_time for card in cards):
            identity["times"] = hash_times(loaded.split.train.seconds, loaded.split.valid.timestamp, loaded.split.test.timestamp)
        if columns := column_digests(cards, loaded.split.items):
            identity["model_columns"] = columns
        if self.tuned is not None:
            identity["tune"] = self.tuned.sha256
        identity |= self.named
        return RunName(loaded.card.name, self.plugin.card.name, self.preset, self.request.seed, hash_value(identity))


def resolve(request: RunRequest, *, command: tuple[str, ...] = (), started_at: float | None = None, alone: bool = False) -> Resolved:
    """Resolve a request: choose what it leaves open.

    Args:
        request: model, data set and options.
        command: as it was typed, for the record.
        started_at: `time.monotonic()` from which a budget of seconds counts; default: now.
        alone: True to train in this process by itself even where torchrun started it.

    Raises:
        BadRequest: a choice cannot be made.
    """
    started = datetime.now(UTC)
    refuse_seed(request.seed)
    refuse_count("--jobs", request.jobs, MOST_JOBS)
    budget = Budget.parse(request.budget, started_at)
    task = task_of(request.dataset)
    views = task.views_of(request.seen)
    models = registry.models(request.plugins)
    plugin = plugin_for(request.model, task, models)
    # What can be refused without torch has been: a misspelt name is told at once.
    from recbench.nn.compute.distributed import world_from_environment

    world, local_rank = (World(), 0) if alone else world_from_environment()
    if budget.unit == "cpu-seconds" and world.size > 1:
        raise BadRequest(
            f"--budget {budget.text} counts the processor time of one process, and torchrun started {world.size}. Give seconds, steps or "
            "examples, or start one process."
        )
    machine = Machine.resolve(request.device, request.precision, request.threads, local_rank)
    if budget.unit == "cpu-seconds" and machine.device != "cpu":
        raise BadRequest(
            f"--budget {budget.text} counts what the host's processor does, which says little of work on {machine.device}. "
            "Give seconds, steps or examples, or --device cpu."
        )
    preset, config, tuned = settings_of(plugin, request, task, machine.device, request.tune_log)
    if tuned is not None and not tuned.gave(config):
        origin = request.config_file or request.tune_log
        log.warning("these are not the settings that the search of %s chose; the run will not be marked as tuned", origin)
        tuned = None
    return Resolved(
        request=request,
        started=started,
        command=command,
        budget=budget,
        plugin=plugin,
        load_plugin=models.load,
        distribution=models.distribution(request.model),
        preset=preset,
        config=config,
        machine=machine,
        world=world,
        task=task,
        views=views,
        protocol=task.protocol(request.protocol, request.ties),
        references=reference_models(models, task),
        tuned=tuned,
    )


def plugin_for(name: str, task: Task, models: registry.Registry[Plugin]) -> Plugin:
    """The model of that name, which must answer the task.

    Raises:
        BadRequest: it does not, or the name holds a preset, as those of `compare` do.
        UnknownPlugin: there is no such model.
    """
    bare, colon, preset = name.partition(":")
    if colon and bare in models:
        raise BadRequest(f"--model {name!r}: the preset has an option of its own here: --model {bare} --preset {preset}")
    plugin = models.load(name)
    check_task(plugin, task, models)
    return plugin


def check_task(plugin: Plugin, task: Task, models: registry.Registry[Plugin]) -> None:
    """Raise a `BadRequest` that names models for the task where this one cannot answer it."""
    if task.name in plugin.card.tasks:
        return
    able = [row.name for row in models.describe() if row.plugin is not None and task.name in row.plugin.card.tasks]
    raise BadRequest(
        f"Model {plugin.card.name!r} is for {' and '.join(plugin.card.tasks)}; the data set asks for {task.name}. "
        f"Models for that: {', '.join(able) or 'none is installed'}."
    )


def settings_of(
    plugin: Plugin, request: RunRequest | PlanRequest, task: Task, device: str, tune_log: Path | None = None
) -> tuple[str, PluginConfig, TunedSettings | None]:
    """Preset and settings of a request, and the search that its config file, or `tune_log`, names."""
    card = plugin.card
    values, tuned = read_settings(request.config_file, card) if request.config_file is not None else (None, None)
    if tune_log is not None:
        tuned = read_search(tune_log, card)
    preset = request.preset or (tuned.log.preset if tuned is not None else plugin.default_preset(device, task.name))
    return preset, plugin.resolve(preset, values, request.overrides), tuned


def stages_to_rerun(names: tuple[str, ...], plugin: Plugin, home: Path) -> tuple[str, ...]:
    """Stages to compute again; with a stage inside the training also the training, which would not ask for it otherwise.

    Raises:
        BadRequest: a name is none of this run's. A misspelt stage must not look like one that was computed again.
    """
    known = ["dataset", "split", *map(training_stage, [plugin.card.name, *plugin.card.uses]), RANKING_STAGE]
    inner = [name for name in names if name not in known]
    for name in inner:
        # Stages of a model's own carry its name in front; only the model knows them. Those that models share lie in the cache.
        is_shared = "." not in name and not name.startswith(training_stage("")) and name in {entry.kind for entry in cache_entries(home)}
        if not is_shared and not name.startswith(f"{plugin.card.name}."):
            raise BadRequest(f"--rerun {name!r}: this run has no such stage.{nearest(name, known)} Known: {', '.join(known)}.")
    return (*names, training_stage(plugin.card.name)) if inner else names
