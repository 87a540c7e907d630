"""One run, from a request to a record in a folder: resolve, perform, publish."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from recbench import registry
from recbench.core.errors import BadRequest, Interrupted, RecbenchError
from recbench.core.records import FAILURE_FILE, RunRecord
from recbench.core.visible import LineFormatter
from recbench.data import dataset_card
from recbench.running.host.measure import DeviceGauge
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run import folders
from recbench.running.run.consumption import Consumption
from recbench.running.run.perform import Prepared, prepare
from recbench.running.run.ranking import RankedTest
from recbench.running.run.recording import write_run
from recbench.running.run.references import stand_beside
from recbench.running.run.references_file import read_references, write_references
from recbench.running.run.resolve import resolve, stages_to_rerun
from recbench.running.run.training import TrainedModel
from recbench.running.stages.outside_modules import came_along
from recbench.running.stages.store import StageStore
from recbench.running.tracking import Trackers

LOG_FILE = "log.txt"
log = logging.getLogger(__name__)


def run_request(
    request: RunRequest, workplace: Workplace, *, command: tuple[str, ...] = (), started_at: float | None = None
) -> RunOutcome | None:
    """Train the model, rank the full catalogue for every test user and write a record.

    A finished record of the same request is the answer where there is one, unless `request.again`.

    Args:
        request: model, data set and options.
        workplace: folders of data, cache, runs and boards, and the display of progress.
        command: as it was typed, for the record.
        started_at: `time.monotonic()` from which a budget of seconds counts; default: now.

    Returns:
        The record and its folder; None on every rank but 0 under torchrun.

    Raises:
        BadRequest: what was asked for is impossible; nothing has been written.
        StageFailed: a step broke; the run folder holds `failure.json`.
        Interrupted: by Ctrl-C or SIGTERM; the same command goes on.
    """
    resolved = resolve(request, command=command, started_at=started_at)
    trackers = Trackers(request.track, workplace.runs)
    if request.measure and resolved.world.size > 1:
        raise BadRequest("--measure is not possible under torchrun: each process would see its own part alone. Run it in one process.")
    consumption = Consumption(request.measure) if request.measure else None
    # Torch is imported by what follows, after a request that cannot be met was refused.
    from recbench.nn.compute.distributed import connected
    from recbench.nn.training.memory import device_memory

    with connected(resolved.world, resolved.machine.device) as group:
        memory = device_memory(resolved.machine.device)
        store = StageStore(
            workplace.stages,
            rerun=stages_to_rerun(request.rerun, resolved.plugin, workplace.home),
            world=group,
            device=None if memory is None else DeviceGauge(memory),
        )
        prepared = prepare(resolved, workplace, store, listeners=[trackers], consumption=consumption)
        is_first = resolved.world.rank == 0
        existing = _finished(prepared)
        if existing is not None:
            log.info("this run is finished: %s (--again makes a new one)", existing.folder.name)
            return existing if is_first else None
        log.info("%s on %s (%s)", resolved.row_name, prepared.loaded.card.name, prepared.loaded.origin)
        log.info("preset %s on %s", resolved.preset, resolved.machine.name)
        log.debug("settings: %s", resolved.config.model_dump_json())
        followed = _followed(prepared, trackers) if is_first else nullcontext()
        writing = folders.writing(prepared.name.stem, workplace.runs)
        with writing as folder, _logging_to(folder / LOG_FILE), _keeping_failure(folder, prepared), followed:
            trained = prepared.train()
            if trained.stage.reused:
                trackers.replay(trained.report.curve)
            tested = prepared.rank(trained)
            if not is_first:
                return None
            outcome = _publish(folder, prepared, trained, tested)
            trackers.figures |= _figures(outcome.record)
            return outcome


def _followed(prepared: Prepared, trackers: Trackers) -> AbstractContextManager[None]:
    """Trackers at work, under the id that the run will have: a run that was stopped had the same, one that is made again has the next."""
    workplace = prepared.workplace
    return prepared.followed(trackers, folders.next_run_id(prepared.name, workplace.runs, workplace.boards))


def _figures(record: RunRecord) -> dict[str, float]:
    """What a tracker shows of a finished run."""
    figures = {f"{view}/{name}": metric.value for view, metrics in record.metrics.items() for name, metric in metrics.items()}
    if record.cost is not None:
        figures |= {name: float(value) for name, value in record.cost if value is not None}
    for stage in record.stages:
        figures[f"stages/{stage.name}/seconds"] = stage.seconds
        if stage.cpu_seconds is not None:
            figures[f"stages/{stage.name}/cpu_seconds"] = stage.cpu_seconds
    return figures


def standing_run(request: RunRequest, workplace: Workplace) -> RunOutcome | None:
    """The finished run that answers a request, found without training; None also where only a run can tell.

    That is so where the request is refused, and for models that are no part of recbench, whose code is left to processes of their own.
    """
    try:
        plugin = registry.models(request.plugins).load(request.model)
        name = dataset_card(request.dataset).name
        if not came_along(plugin.folder) or not folders.has_attempts(name, request.model, request.seed, workplace.runs):
            return None
        return _finished(prepare(resolve(request, alone=True), workplace, StageStore(workplace.stages)))
    except RecbenchError:
        return None


def _finished(prepared: Prepared) -> RunOutcome | None:
    """The finished run of the same name, where one is an answer to the request."""
    request, name = prepared.resolved.request, prepared.name
    found = None if request.again or request.rerun else folders.finished(name, prepared.workplace.runs)
    if found is None:
        return None
    folder, record = found
    return RunOutcome(record, folder, is_new=False, references=read_references(folder, record))


def _publish(folder: Path, prepared: Prepared, trained: TrainedModel, tested: RankedTest) -> RunOutcome:
    """Compare with the references, write the record and name the folder, unless another process has published the same run."""
    resolved, workplace, name = prepared.resolved, prepared.workplace, prepared.name
    references = stand_beside(prepared.trainer, resolved.plugin.card.name, resolved.references, tested.rankings, resolved.final_ranking)
    write_references(references, folder)
    with folders.numbering(name, workplace):
        # Such as a process on a machine that was given up too early.
        existing = _finished(prepared)
        if existing is not None:
            return existing
        run_id = folders.next_run_id(name, workplace.runs, workplace.boards)
        record = write_run(folder, run_id, prepared, trained, tested)
        return RunOutcome(record, folders.finish(folder, run_id, workplace.runs), is_new=True, references=references)


@contextmanager
def _keeping_failure(folder: Path, prepared: Prepared) -> Iterator[None]:
    """Keep the folder of a run that breaks, with the reason in it; one that was refused or interrupted leaves none."""
    try:
        yield
    except (BadRequest, Interrupted):
        raise
    except (Exception, SystemExit) as error:
        if prepared.resolved.world.rank == 0:
            name, workplace = prepared.name, prepared.workplace
            folders.write_failure(folder, error)
            with folders.numbering(name, workplace):
                failed = folders.finish(folder, folders.next_run_id(name, workplace.runs, workplace.boards), workplace.runs)
            log.error("the run failed; the reason is in %s", failed / FAILURE_FILE)
        raise


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Also write recbench's log to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("recbench")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
