"""One run: data, split, training, ranking, evaluation, record."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.config import PluginConfig
from recbench.core.errors import BadRequest, Interrupted, nearest
from recbench.core.plugin import Plugin, World
from recbench.core.progress import Progress
from recbench.core.ranking import VIEWS, View
from recbench.core.records import ProtocolPart, read_record
from recbench.core.visible import LineFormatter
from recbench.data import SplitProtocol
from recbench.running.host.machine import Machine
from recbench.running.host.measure import DeviceGauge
from recbench.running.host.places import Places
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run import folders as runs
from recbench.running.run.fit_context import FinalRanking
from recbench.running.run.guard import reveal_imports
from recbench.running.run.ranking import RANKING_STAGE, rank_test
from recbench.running.run.recording import RunFacts, write_run
from recbench.running.run.references import read_references, stand_beside, write_references
from recbench.running.run.searched_settings import TunedSettings, read_search, read_settings
from recbench.running.run.splits import LoadedSplit, load_split
from recbench.running.run.training import Trainer, check_needs, training_stage
from recbench.running.stages.keys import hash_times, hash_value, named_content, plugin_source_hash
from recbench.running.stages.store import StageStore, cache_entries

LIST_LENGTH = 50
LOG_FILE = "log.txt"
_SEEN: Mapping[str, tuple[View, ...]] = {"both": VIEWS, "keep": ("keep",), "unseen": ("unseen",)}
log = logging.getLogger(__name__)


def run_request(
    request: RunRequest, places: Places, progress: Progress, *, command: tuple[str, ...] = (), started_at: float | None = None
) -> RunOutcome | None:
    """Train the model, rank the full catalogue for every test user and write a record.

    A finished record of the same request is the answer where there is one, unless `request.again`.

    Args:
        request: what to run.
        places: where data, cache and runs are.
        progress: where long work reports.
        command: as it was typed, for the record.
        started_at: `time.monotonic()` from which a budget of seconds counts; default: now.

    Returns:
        The record and its folder; None on every rank but 0 under torchrun.

    Raises:
        BadRequest: what was asked for is impossible; nothing has been written.
        StageFailed: a step broke; the run folder holds `failure.json`.
        Interrupted: by Ctrl-C or SIGTERM; the same command goes on.
    """
    # Torch is imported by what follows, after the command line has shown its help and read its options.
    from recbench.nn.device_memory import device_memory
    from recbench.nn.distributed import connected, world_from_environment

    started = datetime.now(UTC)
    budget = Budget.parse(request.budget, started_at)
    request = replace(request, budget=budget.text)
    world, local_rank = world_from_environment()
    settings = settle(request, world, local_rank)
    with connected(world, settings.machine.device) as group:
        memory = device_memory(settings.machine.device)
        store = StageStore(
            places.home / "stages",
            rerun=_to_rerun(request.rerun, settings.plugin, places.home),
            world=group,
            device=None if memory is None else DeviceGauge(memory),
        )
        loaded = load_split(request.dataset, settings.protocol, places, store, progress)
        trainer = Trainer(
            split=loaded.split,
            machine=settings.machine,
            store=store,
            progress=progress,
            budget=budget,
            world=world,
            load_plugin=settings.load_plugin,
            final_ranking=FinalRanking(settings.views, LIST_LENGTH),
        )
        # Before the name, which asks for what the settings name: nothing is fetched for data that the model cannot read.
        check_needs(settings.plugin, loaded.split)
        reveal_imports(settings.plugin, settings.config, trainer.catalogue)
        name = settings.name(loaded)
        existing = runs.finished(name, places.runs)
        if existing is not None and not request.again and not request.rerun:
            log.info("this run is finished: %s (--again makes a new one)", existing.name)
            return _found(existing) if world.rank == 0 else None
        log.info("%s on %s (%s)", settings.row_name, loaded.card.name, loaded.origin)
        log.info("preset %s on %s: %s", settings.preset, settings.machine.name, settings.config.model_dump_json())
        facts = settings.facts(started, command)
        with runs.writing(name, places.runs) as folder, _logging_to(folder / LOG_FILE):
            try:
                trained = trainer.train(settings.plugin, settings.config, request.seed, request.budget)
                tested = rank_test(
                    trained,
                    loaded.split,
                    store,
                    progress,
                    k=LIST_LENGTH,
                    views=settings.views,
                    reads_times="time" in settings.plugin.card.needs,
                )
                if world.rank != 0:
                    return None
                final = FinalRanking(settings.views, LIST_LENGTH)
                references = stand_beside(trainer, settings.plugin.card.name, settings.references, tested.rankings, final)
                write_references(references, folder)
                with runs.numbering(name, places.runs, places.home):
                    # Another process may have been quicker, such as one on a machine that was given up too early.
                    existing = runs.finished(name, places.runs)
                    if existing is not None and not request.again and not request.rerun:
                        return _found(existing)
                    run_id = runs.next_run_id(name, places.runs, places.boards)
                    record = write_run(folder, run_id, facts, loaded, trained, tested)
                    return RunOutcome(record, runs.finish(folder, run_id, places.runs), is_new=True, references=references)
            except (BadRequest, Interrupted):
                raise
            except Exception as error:
                if world.rank == 0:
                    runs.write_failure(folder, error)
                    with runs.numbering(name, places.runs, places.home):
                        failed = runs.finish(folder, runs.next_run_id(name, places.runs, places.boards), places.runs)
                    log.error("the run failed; the reason is in %s", failed / runs.FAILURE_FILE)
                raise


def _found(folder: Path) -> RunOutcome:
    """A finished run as the answer to a request."""
    record = read_record(folder / runs.RECORD_FILE)
    return RunOutcome(record, folder, is_new=False, references=read_references(folder, record))


@dataclass(frozen=True)
class Settings:
    """A request with every open choice made."""

    request: RunRequest
    plugin: Plugin
    load_plugin: Callable[[str], Plugin]
    distribution: str
    preset: str
    config: PluginConfig
    machine: Machine
    world: World
    views: tuple[View, ...]
    protocol: SplitProtocol
    references: tuple[Plugin, ...]
    """Cheap models that the run is shown beside."""
    tuned: TunedSettings | None
    """The search that gave these settings."""

    @property
    def row_name(self) -> str:
        """What tables call the run."""
        return self.plugin.row_name(self.preset, self.config)

    @property
    def config_hash(self) -> str:
        """Equal for runs that differ in nothing but their seed."""
        return hash_value({"model": self.plugin.card.name, "config": self.config.model_dump(mode="json"), "budget": self.request.budget})

    @cached_property
    def named(self) -> dict[str, Any]:
        """Content and revisions of what the settings name; what does not lie here yet is fetched."""
        return named_content(self.config)

    def name(self, loaded: LoadedSplit) -> runs.RunName:
        """The run's name, with the hash of all that a finished record must share to be the answer."""
        identity = {
            "model": self.plugin.card.name,
            "source": plugin_source_hash(self.plugin.folder),
            "config": self.config_hash,
            "seed": self.request.seed,
            "fingerprints": loaded.split.fingerprints.model_dump(mode="json"),
            "dataset": loaded.card.name,
            "protocol": asdict(self.protocol),
            "views": list(self.views),
            "list_length": LIST_LENGTH,
            "precision": self.machine.precision,
            "device": self.machine.type,
            "world_size": self.world.size,
        }
        if "time" in self.plugin.card.needs:
            identity["times"] = hash_times(loaded.split.train.timestamp, loaded.split.valid.timestamp, loaded.split.test.timestamp)
        if self.tuned is not None:
            identity["tune"] = self.tuned.sha256
        identity |= self.named
        return runs.RunName(loaded.card.name, self.plugin.card.name, self.preset, self.request.seed, hash_value(identity))

    def facts(self, started: datetime, command: tuple[str, ...]) -> RunFacts:
        """What the record says besides results."""
        return RunFacts(
            started=started,
            command=command,
            plugin=self.plugin,
            distribution=self.distribution,
            preset=self.preset,
            row_name=self.row_name,
            config=self.config.model_dump(mode="json"),
            config_hash=self.config_hash,
            content_hash=hash_value(self.named["files"]) if "files" in self.named else None,
            revisions=self.named.get("revisions", {}),
            budget=self.request.budget,
            seed=self.request.seed,
            machine=self.machine,
            world_size=self.world.size,
            jobs=self.request.jobs,
            protocol=ProtocolPart(
                split=self.protocol.name,
                split_options=dict(self.protocol.options),
                ties=self.protocol.ties,
                list_length=LIST_LENGTH,
                views=self.views,
            ),
            tuned=self.tuned,
        )


def views_of(seen: str) -> tuple[View, ...]:
    """The views that `--seen keep|unseen|both` asks for."""
    if seen not in _SEEN:
        raise BadRequest(f"--seen {seen!r} is not known.{nearest(seen, _SEEN)} Use keep, unseen or both.")
    return _SEEN[seen]


def settle(request: RunRequest, world: World, local_rank: int) -> Settings:
    """Every open choice of a request made; a `BadRequest` where one cannot be."""
    views = views_of(request.seen)
    models = registry.models(request.plugins)
    plugin = models.load(request.model)
    machine = Machine.resolve(request.device, request.precision, request.threads, local_rank)
    file_values, tuned = read_settings(request.config_file, request.model) if request.config_file is not None else (None, None)
    if request.tune_log is not None:
        tuned = read_search(request.tune_log)
    preset = request.preset or (tuned.log.preset if tuned is not None else plugin.default_preset(machine.device))
    config = plugin.resolve(preset, file_values, request.overrides)
    if tuned is not None and not tuned.gave(config):
        origin = request.config_file or request.tune_log
        log.warning("these are not the settings that the search of %s chose; the run will not be marked as tuned", origin)
        tuned = None
    return Settings(
        request=request,
        plugin=plugin,
        load_plugin=models.load,
        distribution=models.distribution(request.model),
        preset=preset,
        config=config,
        machine=machine,
        world=world,
        views=views,
        protocol=SplitProtocol.parse(request.protocol, ties=request.ties),
        references=tuple(row.plugin for row in models.describe() if row.plugin is not None and row.plugin.card.is_reference),
        tuned=tuned,
    )


def _to_rerun(names: tuple[str, ...], plugin: Plugin, home: Path) -> tuple[str, ...]:
    """The stages to compute again; with a stage that training asks for, the training, or nobody would ask.

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


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """What recbench logs goes to a file as well."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("recbench")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
