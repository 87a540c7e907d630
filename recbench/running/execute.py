"""One run: data, split, training, ranking, evaluation, record."""

import logging
import os
import platform
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import recbench.evaluation as evaluation
from recbench.core.budget import Budget
from recbench.core.config import PluginConfig, read_toml
from recbench.core.errors import BadRequest, Interrupted, RecbenchError, nearest
from recbench.core.plugin import Plugin, World
from recbench.core.progress import Progress
from recbench.core.ranking import VIEWS, View
from recbench.core.records import (
    CostPart,
    DatasetPart,
    DevicePart,
    FilePart,
    FitPart,
    ModelPart,
    ProtocolPart,
    RunRecord,
    StagePart,
    TargetsPart,
    read_record,
)
from recbench.data import SplitProtocol
from recbench.running import provenance, runs
from recbench.running.api import RunOutcome, RunRequest
from recbench.running.cache import StageStore
from recbench.running.hashing import hash_file, hash_value, plugin_source_hash
from recbench.running.machine import Machine
from recbench.running.places import Places
from recbench.running.ranking import RankedTest, queries_of_test, rank_test
from recbench.running.splits import LoadedSplit, load_split
from recbench.running.training import MODEL_FOLDER, TrainedModel, Trainer

LIST_LENGTH = 50
_SEEN: Mapping[str, tuple[View, ...]] = {"both": VIEWS, "keep": ("keep",), "unseen": ("unseen",)}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Settings:
    """A request with every open choice made."""

    request: RunRequest
    plugin: Plugin
    distribution: str
    preset: str
    config: PluginConfig
    machine: Machine
    world: World
    views: tuple[View, ...]
    protocol: SplitProtocol

    @property
    def config_hash(self) -> str:
        """Equal for runs that differ in nothing but their seed."""
        return hash_value({"model": self.plugin.card.name, "config": self.config.model_dump(mode="json"), "budget": self.request.budget})

    def name(self, loaded: LoadedSplit) -> runs.RunName:
        """The run's name, with the hash of all that a finished record must share to be the answer."""
        identity = {
            "model": self.plugin.card.name,
            "source": plugin_source_hash(self.plugin.folder),
            "config": self.config_hash,
            "seed": self.request.seed,
            "fingerprints": loaded.split.fingerprints.model_dump(mode="json"),
            "dataset": loaded.card.name,
            "protocol": self.protocol.model_dump(mode="json"),
            "views": list(self.views),
            "list_length": LIST_LENGTH,
            "precision": self.machine.precision,
            "device": self.machine.type,
            "world_size": self.world.size,
        }
        return runs.RunName(loaded.card.name, self.plugin.card.name, self.preset, self.request.seed, hash_value(identity))


def run_request(request: RunRequest, places: Places, progress: Progress, *, command: list[str] | None = None) -> RunOutcome | None:
    """Train the model, rank the full catalogue for every test user and write a record.

    A finished record of the same request is the answer where there is one, unless `request.again`.

    Args:
        request: what to run.
        places: where data, cache and runs are.
        progress: where long work reports.
        command: as it was typed, for the record.

    Returns:
        The record and its folder; None on every rank but 0 under torchrun.

    Raises:
        BadRequest: what was asked for is impossible; nothing has been written.
        StageFailed: a step broke; the run folder holds `failure.json`.
        Interrupted: by Ctrl-C or SIGTERM; the same command goes on.
    """
    started = datetime.now(UTC)
    budget = Budget.parse(request.budget)
    settings = _settle(request)
    with _together(settings) as world:
        store = StageStore(places.home / "stages", rerun=request.rerun, world=world)
        loaded = load_split(request.dataset, settings.protocol, places, store, progress)
        name = settings.name(loaded)
        existing = runs.finished(name, places.runs)
        if existing is not None and not request.again and not request.rerun:
            log.info("this run is finished: %s (--again makes a new one)", existing.name)
            return RunOutcome(read_record(existing / runs.RECORD_FILE), existing, is_new=False) if settings.world.rank == 0 else None
        log.info("%s on %s (%s)", settings.plugin.row_name(settings.preset, settings.config), loaded.card.name, loaded.origin)
        log.info("settings: %s", settings.config.model_dump_json())
        trainer = Trainer(
            split=loaded.split,
            machine=settings.machine,
            store=store,
            progress=progress,
            budget=budget,
            world=settings.world,
            load_plugin=_loader(request),
        )
        trainer.check_needs(settings.plugin)
        return _record(settings, loaded, trainer, store, places, progress, name, started, command or [])


def _settle(request: RunRequest) -> _Settings:
    from recbench import registry

    if request.seen not in _SEEN:
        raise BadRequest(f"--seen {request.seen!r} is not known.{nearest(request.seen, _SEEN)} Use keep, unseen or both.")
    models = registry.models(request.plugins)
    plugin = models.load(request.model)
    machine = Machine.resolve(request.device, request.precision, request.threads)
    preset = request.preset or plugin.default_preset(machine.device)
    file_values = read_toml(request.config_file) if request.config_file is not None else None
    config = plugin.resolve(preset, file_values, request.overrides)
    world = World(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    return _Settings(
        request=request,
        plugin=plugin,
        distribution=models.distribution(request.model),
        preset=preset,
        config=config,
        machine=machine,
        world=world,
        views=_SEEN[request.seen],
        protocol=SplitProtocol.parse(request.protocol, ties=request.ties),
    )


def _loader(request: RunRequest) -> Any:
    from recbench import registry

    return registry.models(request.plugins).load


def _record(
    settings: _Settings,
    loaded: LoadedSplit,
    trainer: Trainer,
    store: StageStore,
    places: Places,
    progress: Progress,
    name: runs.RunName,
    started: datetime,
    command: list[str],
) -> RunOutcome | None:
    """Train, rank, evaluate; rank 0 writes the folder, or one with the reason of the failure."""
    request = settings.request
    with runs.writing(name, places.runs) as folder, _logging_to(folder / "log.txt"):
        try:
            trained = trainer.train(settings.plugin, settings.config, request.seed, request.budget)
            # Data set, split and training are shared work; the ranking is rank 0's, while the others wait for its end.
            tested = rank_test(trained, loaded.split, store, progress, k=LIST_LENGTH, views=settings.views)
            if settings.world.rank != 0:
                return None
            run_id = runs.next_run_id(name, places.runs)
            record = _evaluated(settings, loaded, trained, tested, folder, run_id, started, command)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BadRequest:
            raise
        except Exception as error:
            if settings.world.rank == 0:
                runs.write_failure(folder, error)
                failed = runs.finish(folder, runs.next_run_id(name, places.runs), places.runs)
                log.error("the run failed; %s holds the reason", failed / runs.FAILURE_FILE)
            raise
        return RunOutcome(record, runs.finish(folder, run_id, places.runs), is_new=True)
