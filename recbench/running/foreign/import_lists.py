"""Another toolkit's ranked lists, measured under the protocol of a run and kept as a record marked foreign."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import recbench.evaluation as evaluation
from recbench import registry
from recbench.core.budget import Budget
from recbench.core.config import hash_value
from recbench.core.digests import file_sha256
from recbench.core.errors import BadRequest
from recbench.core.file_names import is_run_name
from recbench.core.plugin import World
from recbench.core.progress import Progress
from recbench.core.ranking import BOTH, KEEP, View
from recbench.core.records import RECORD_FILE, DevicePart, FitPart, ForeignPart, ModelPart, ReferencePart, RunRecord
from recbench.data import SplitProtocol
from recbench.running.foreign.lists import ForeignLists, PlacedLists, holds_history, place_lists, read_lists
from recbench.running.host import provenance
from recbench.running.host.machine import Machine, cores, processor
from recbench.running.host.workplace import Workplace
from recbench.running.requests import ImportRequest, RunOutcome
from recbench.running.run import folders as runs
from recbench.running.run.fit_context import FinalRanking
from recbench.running.run.recording import dataset_part, file_parts, protocol_part, write_measured
from recbench.running.run.references import reference_models, stand_beside
from recbench.running.run.references_file import REFERENCES_FILE, read_references, write_references
from recbench.running.run.splits import LoadedSplit, load_split
from recbench.running.run.training import Trainer
from recbench.running.stages.store import StageStore
from recbench.tasks import Task, task_of

FOREIGN = "foreign"
"""Preset of every imported record."""
_NOT_TRAINED_HERE = FitPart(
    steps=0,
    epochs=0.0,
    examples_seen=0,
    examples_possible=0,
    parameters=0,
    parameters_trainable=0,
    parameters_embedding=0,
    chosen={},
    stopped_by="not trained here",
)
log = logging.getLogger(__name__)


def import_ranks(request: ImportRequest, workplace: Workplace, *, command: tuple[str, ...] = ()) -> RunOutcome:
    """Measure the lists of a file as a run's are measured and write a record; the record of the same file where there is one.

    Raises:
        BadRequest: the lists cannot be measured under this protocol; nothing has been written.
    """
    started = datetime.now(UTC)
    if not is_run_name(request.model):
        raise BadRequest(f"--model {request.model!r} cannot be part of a file's name. Use letters, digits and _ . = + -")
    task = task_of(request.dataset)
    protocol = task.protocol(request.protocol, request.ties)
    lists = read_lists(request.file)
    views = _views(request.seen, lists, task)
    store = StageStore(workplace.stages)
    loaded = load_split(request.dataset, protocol, workplace, store)
    placed = place_lists(lists, loaded.split, views, task)
    if KEEP in views and not holds_history(placed.rankings, loaded.split.test.histories):
        log.warning("no list holds an item of its user's history; if those were left out, these are lists for --seen unseen")
    sha256 = file_sha256(request.file)
    identity = {
        "model": request.model,
        "lists": sha256,
        "seed": request.seed,
        "fingerprints": loaded.split.fingerprints.model_dump(mode="json"),
        "dataset": loaded.card.name,
        "protocol": protocol.identity(),
        "views": list(views),
    }
    name = runs.RunName(loaded.card.name, request.model, FOREIGN, request.seed, hash_value(identity))
    existing = runs.finished(name, workplace.runs)
    if existing is not None:
        there, record = existing
        log.info("these lists were already imported: %s", there.name)
        return RunOutcome(record, there, is_new=False, references=read_references(there, record))
    foreign = ForeignPart(
        file=request.file.name,
        sha256=sha256,
        users_without_list=dict(placed.without_list),
        users_not_asked=placed.not_asked,
        lists_cut=placed.cut,
    )
    references = _references(loaded, placed, store, workplace.progress)
    with runs.writing(name.stem, workplace.runs) as folder, runs.numbering(name, workplace):
        write_references(references, folder)
        run_id = runs.next_run_id(name, workplace.runs, workplace.boards)
        record = _write(folder, run_id, request, started, command, protocol, loaded, placed, foreign)
        return RunOutcome(record, runs.finish(folder, run_id, workplace.runs), is_new=True, references=references)


def _views(seen: str | None, lists: ForeignLists, task: Task) -> tuple[View, ...]:
    """The views to measure: those of the file, or the one that the user names where the file does not say."""
    wanted = task.views_of(seen or BOTH)
    if None in lists.views:
        if len(wanted) > 1:
            raise BadRequest(
                f"{lists.file} has one list per user and no column view. Say whether items of the history could stand in the lists: "
                "--seen keep, or --seen unseen where they were left out."
            )
        return wanted
    here = tuple(view for view in task.views if view in lists.views)
    missing = [view for view in wanted if view not in here]
    if seen is not None and missing:
        raise BadRequest(f"--seen {seen}: {lists.file} holds no list of the view {missing[0]}. It holds: {', '.join(here)}.")
    return here if seen is None else wanted


def _references(loaded: LoadedSplit, placed: PlacedLists, store: StageStore, progress: Progress) -> tuple[ReferencePart, ...]:
    """The lists beside the cheap references of their split, which are trained here as beside a run."""
    models, task = registry.models(), loaded.task
    trainer = Trainer(
        task=task,
        split=loaded.split,
        machine=Machine.resolve("cpu", "fp32", None),
        store=store,
        progress=progress,
        budget=Budget(),
        world=World(),
        load_plugin=models.load,
    )
    rankings = placed.rankings
    return stand_beside(trainer, "", reference_models(models, task), rankings, FinalRanking(rankings.views, rankings.k))


def _write(
    folder: Path,
    run_id: str,
    request: ImportRequest,
    started: datetime,
    command: tuple[str, ...],
    protocol: SplitProtocol,
    loaded: LoadedSplit,
    placed: PlacedLists,
    foreign: ForeignPart,
) -> RunRecord:
    rankings = placed.rankings
    measured = write_measured(folder, loaded.task, loaded.split, rankings)
    ties = evaluation.tie_sensitivity(rankings, loaded.split.test.targets, loaded.task.main_cutoff) if placed.has_scores else {}
    missing = {f"users_without_list_{view}": float(count) for view, count in foreign.users_without_list.items()}
    record = RunRecord(
        run_id=run_id,
        started=started.isoformat(timespec="seconds"),
        command=list(command),
        model=ModelPart(
            name=request.model,
            preset=FOREIGN,
            row_name=f"{request.model}:{FOREIGN}",
            family="unknown",
            is_trivial=False,
            reads_text=False,
            distribution=FOREIGN,
            source_hash=foreign.sha256,
        ),
        dataset=dataset_part(loaded),
        task=loaded.task.name,
        protocol=protocol_part(protocol, rankings.k, rankings.views),
        fingerprints=loaded.split.fingerprints,
        config={},
        # Without the file: several seeds of one model are one row.
        config_hash=hash_value({"model": request.model, "preset": FOREIGN}),
        budget=None,
        seed=request.seed,
        code=provenance.code(),
        libraries=provenance.libraries(),
        device=DevicePart(type="cpu", name=processor(), threads=cores(), precision="fp32"),
        stages=[stage.part() for stage in loaded.stages],
        fit=_NOT_TRAINED_HERE,
        targets=measured.targets,
        metrics=dict(measured.result.metrics),
        slices=measured.result.slices,
        beyond=dict(measured.result.beyond),
        diagnostics={**evaluation.list_diagnostics(rankings), **ties, **missing},
        cost=None,
        files=file_parts([*measured.files, folder / REFERENCES_FILE]),
        foreign=foreign,
    )
    (folder / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")
    return record
