"""Evaluating a run's rankings and writing its record."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import recbench.evaluation as evaluation
from recbench.core.codes_file import CODES_FILE
from recbench.core.config import by_dotted_name, hash_value, toml_text
from recbench.core.digests import file_sha256
from recbench.core.errors import BadData, PluginFailed
from recbench.core.interactions import ItemTable
from recbench.core.plugin import FitReport
from recbench.core.ranking import Rankings, View
from recbench.core.records import (
    CURVE_FILE,
    EXPOSURE_FILE,
    RANKS_FILE,
    RECORD_FILE,
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
)
from recbench.core.tuning import TUNE_LOG
from recbench.data import Split, SplitProtocol
from recbench.running.host import provenance
from recbench.running.run.catalogue import CATALOGUE_FILE, write_catalogue
from recbench.running.run.perform import Prepared
from recbench.running.run.ranking import RANKING_STAGE, RankedTest, queries_of_test
from recbench.running.run.references_file import REFERENCES_FILE
from recbench.running.run.resolve import Resolved
from recbench.running.run.splits import LoadedSplit
from recbench.running.run.training import MODEL_FOLDER, TrainedModel, column_digests, link_or_copy
from recbench.running.stages.keys import plugin_source_hash
from recbench.running.stages.store import Stage
from recbench.tasks import Task

CONFIG_FILE = "config.toml"
_CURVE_COLUMNS = ("step", "epoch", "seconds", "loss", "learning_rate")


@dataclass(frozen=True)
class Measured:
    """Figures that follow from the lists of all test users.

    Attributes:
        result: metrics, slices and figures beyond accuracy.
        targets: sizes and shares of the test part.
        files: the tables that it was computed from.
    """

    result: evaluation.Evaluation
    targets: TargetsPart
    files: tuple[Path, ...]


def write_measured(folder: Path, task: Task, split: Split, rankings: Rankings) -> Measured:
    """Evaluate lists and write the tables that `verify` needs to do it again; whoever made the lists comes through here."""
    part = split.test
    targets = task.facts(split)
    rank = evaluation.ranks_of_targets(rankings, part.targets, queries_of_test(split, rankings.views))
    ranks = evaluation.RankTable.of_queries(part.user, part.targets, rank, rankings.k)
    exposure = evaluation.exposure_counts(rankings, len(split.items))
    train_count = split.train.item_counts()
    files = (
        evaluation.write_ranks(ranks, folder / RANKS_FILE),
        evaluation.write_exposure(exposure, folder / EXPOSURE_FILE),
        evaluation.write_targets(targets, folder),
        evaluation.write_items(train_count, folder),
    )
    result = evaluation.evaluate(ranks, targets, exposure, train_count, task.measures)
    return Measured(result, evaluation.targets_part(targets, split.n_users_train_only), files)


def dataset_part(loaded: LoadedSplit) -> DatasetPart:
    """The data set as a record keeps it."""
    return DatasetPart(
        name=loaded.card.name,
        title=loaded.card.title,
        is_synthetic=loaded.card.is_synthetic,
        time=loaded.split.train.time.value,
        n_users=len(loaded.split.user_ids),
        n_items=len(loaded.split.items),
        n_interactions=loaded.n_interactions,
    )


def protocol_part(protocol: SplitProtocol, list_length: int, views: tuple[View, ...]) -> ProtocolPart:
    """The protocol as a record keeps it."""
    return ProtocolPart(split=protocol.name, split_options=dict(protocol.options), ties=protocol.ties, list_length=list_length, views=views)


def file_parts(paths: Sequence[Path]) -> list[FilePart]:
    """Names and hashes of a run's files."""
    return [FilePart(name=path.name, sha256=file_sha256(path)) for path in paths]


def _model_files(training: Stage) -> list[FilePart]:
    """The files of the model with the sums of the stage that wrote them: weights can be gigabytes, and are hashed once."""
    return [FilePart(name=name, sha256=sha256) for name, sha256 in training.sums().items() if name.startswith(f"{MODEL_FOLDER}/")]


def write_run(folder: Path, run_id: str, prepared: Prepared, trained: TrainedModel, tested: RankedTest) -> RunRecord:
    """Fill a run folder with ranks, exposure, curve, settings, model and, last, the record that ties them together."""
    resolved, loaded = prepared.resolved, prepared.loaded
    split, rankings = loaded.split, tested.rankings
    measured = write_measured(folder, loaded.task, split, rankings)
    written = [*measured.files, write_curve(trained.report, folder), *folder.glob(REFERENCES_FILE)]
    codes, code_figures = _keep_codes(folder, resolved, loaded, trained, rankings)
    (folder / CONFIG_FILE).write_text(_config_text(resolved), encoding="utf-8")
    write_catalogue(split.items, folder)
    shutil.copytree(trained.stage.folder / MODEL_FOLDER, folder / MODEL_FOLDER, copy_function=link_or_copy)
    if resolved.tuned is not None:
        written.append(resolved.tuned.keep(folder / TUNE_LOG))
    stages = [*(stage.part() for stage in loaded.stages), *trained.lineage, tested.stage.part()]
    record = RunRecord(
        run_id=run_id,
        started=resolved.started.isoformat(timespec="seconds"),
        command=list(resolved.command),
        model=_model_part(resolved, loaded.split.items),
        dataset=dataset_part(loaded),
        task=loaded.task.name,
        protocol=protocol_part(resolved.protocol, resolved.task.list_length, resolved.views),
        fingerprints=split.fingerprints,
        config=dict(resolved.settings),
        config_hash=resolved.config_hash,
        budget=resolved.budget.text,
        seed=resolved.request.seed,
        code=provenance.code(),
        libraries=provenance.libraries(),
        device=DevicePart(
            type=resolved.machine.type,
            name=resolved.machine.name,
            threads=resolved.machine.threads,
            precision=resolved.machine.precision,
            world_size=resolved.world.size,
            jobs=resolved.request.jobs,
        ),
        stages=stages,
        fit=_fit_part(trained.report),
        targets=measured.targets,
        notes=dict(split.notes),
        metrics=dict(measured.result.metrics),
        slices=measured.result.slices,
        beyond=dict(measured.result.beyond),
        diagnostics={
            # First, so that no counter of a model replaces a figure that was measured.
            **{name: float(count) for name, count in rankings.counters.items()},
            **evaluation.list_diagnostics(rankings),
            **evaluation.tie_sensitivity(rankings, split.test.targets, loaded.task.main_cutoff),
            **code_figures,
            **_domination(resolved, trained, folder),
        },
        cost=_cost_part(stages, trained, tested, len(split.test)),
        files=[*file_parts([*written, *codes, folder / CONFIG_FILE, folder / CATALOGUE_FILE]), *_model_files(trained.stage)],
        tuned=None if resolved.tuned is None else resolved.tuned.part(),
    )
    (folder / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")
    return record


def write_curve(report: FitReport, folder: Path) -> Path:
    """`curve.csv`: a row per point, an empty field where nothing was measured."""
    names = sorted({name for point in report.curve for name in point.validation or {}})
    path = folder / CURVE_FILE
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*_CURVE_COLUMNS, *names])
        for point in report.curve:
            values = [getattr(point, column) for column in _CURVE_COLUMNS] + [(point.validation or {}).get(name) for name in names]
            writer.writerow(["" if value is None else repr(value) for value in values])
    return path


def _keep_codes(
    folder: Path, resolved: Resolved, loaded: LoadedSplit, trained: TrainedModel, rankings: Rankings
) -> tuple[list[Path], dict[str, float]]:
    """Keep the codes of the items as a file of the run, with their figures and scores; nothing where the model has none."""
    source = trained.report.artefacts.get("codes")
    if source is None:
        return [], {}
    path = folder / CODES_FILE
    link_or_copy(source, path)
    items = loaded.split.items
    try:
        table = evaluation.read_codes(path)
    except BadData as error:
        raise PluginFailed(f"Model {resolved.plugin.card.name!r} gave codes that cannot be read. {error}") from error
    if len(table.code) != len(items):
        raise PluginFailed(f"Model {resolved.plugin.card.name!r} gave codes of {len(table.code)} items; the data set has {len(items)}.")
    paths, test = items.columns.get("categories"), loaded.split.test
    figures = evaluation.code_figures(table, None if paths is None else evaluation.main_categories(list(paths)))
    figures |= evaluation.collision_figures(table, test.targets)
    queries, cutoffs = queries_of_test(loaded.split, rankings.views), loaded.task.measures.cutoffs
    return [path], figures | evaluation.level_figures(table, rankings, test.targets, queries, cutoffs)


def _domination(resolved: Resolved, trained: TrainedModel, folder: Path) -> dict[str, float]:
    """Figures of the spaces of item vectors that the model names, and about codes that lie in the folder; nothing where it
    names none. The matrices stay where they are: they are too large for a record."""
    source = trained.report.artefacts.get("spaces")
    if source is None:
        return {}
    try:
        spaces = evaluation.read_spaces(source)
    except BadData as error:
        raise PluginFailed(f"Model {resolved.plugin.card.name!r} gave spaces that cannot be read. {error}") from error
    codes = folder / CODES_FILE
    return evaluation.domination_figures(spaces, evaluation.read_codes(codes).code[:, 0] if codes.exists() else None)


def _model_part(resolved: Resolved, items: ItemTable) -> ModelPart:
    card = resolved.plugin.card
    backbone = _backbone(resolved)
    settings = by_dotted_name(resolved.settings, resolved.plugin.config)
    # Two settings may name one column.
    fields = dict.fromkeys(name for setting in card.text for name in settings[setting])
    holding = [name for name, column in items.columns.items() if any(value is not None for value in column)]
    return ModelPart(
        name=card.name,
        preset=resolved.preset,
        row_name=resolved.row_name,
        family=card.family,
        is_trivial=card.is_trivial,
        reads_text=card.reads_text,
        backbone=backbone,
        text=tuple(name for name in fields if name in holding) if card.text else None,
        columns=column_digests(resolved.cards, items),
        distribution=resolved.distribution,
        source_hash=plugin_source_hash(resolved.plugin.folder),
    )


def _backbone(resolved: Resolved) -> str | None:
    """The pretrained weights that say most about the row, with the revision or content that was read; None where there are none."""
    settings = by_dotted_name(resolved.settings, resolved.plugin.config)
    setting = next((name for name in resolved.plugin.card.backbone if settings[name]), None)
    if setting is None:
        return None
    revisions, files = resolved.named.get("revisions", {}), resolved.named.get("files")
    if setting in revisions:
        return str(revisions[setting])
    return str(settings[setting]) + ("" if files is None else f" ({hash_value(files)[:12]})")


def _fit_part(report: FitReport) -> FitPart:
    return FitPart(
        steps=report.steps,
        epochs=report.epochs,
        examples_seen=report.examples_seen,
        examples_possible=report.examples_possible,
        parameters=report.parameters.total,
        parameters_trainable=report.parameters.trainable,
        parameters_embedding=report.parameters.embedding,
        chosen=dict(report.chosen),
        stopped_by=report.stopped_by,
        resumed_at=report.resumed_at,
        validations=sum(point.validation is not None for point in report.curve),
    )


def _cost_part(stages: list[StagePart], trained: TrainedModel, tested: RankedTest, n_users: int) -> CostPart:
    """Cost of the run without cache luck: a reused stage counts with its cost when it was computed."""
    return CostPart(
        train_s=training_seconds(stages),
        rank_s=tested.rank_s,
        total_s=sum(stage.seconds for stage in stages),
        cpu_s=_processor_seconds(stages),
        train_cpu_s=_processor_seconds(training_stages(stages)),
        users_per_s=n_users / max(tested.rank_s, 1e-9),
        peak_memory_bytes=max(stage.peak_memory_bytes for stage in stages),
        peak_device_memory_bytes=max((peak for stage in stages if (peak := stage.peak_device_memory_bytes) is not None), default=None),
        train_energy_kwh=trained.consumed.energy_kwh,
        train_flops=trained.consumed.flops,
    )


def training_seconds(stages: Sequence[StagePart]) -> float:
    """Seconds between the split and the ranking: the training and all that it asked for."""
    return sum(stage.seconds for stage in training_stages(stages))


def training_stages(stages: Sequence[StagePart]) -> list[StagePart]:
    """The training and all that it asked for."""
    return [stage for stage in stages if stage.name not in {"dataset", "split", RANKING_STAGE}]


def _processor_seconds(stages: Sequence[StagePart]) -> float | None:
    counted = [stage.cpu_seconds for stage in stages if stage.cpu_seconds is not None]
    return sum(counted) if len(counted) == len(stages) else None


def _config_text(resolved: Resolved) -> str:
    """The resolved settings as TOML, to be fed back."""
    return f"# {resolved.row_name}, seed {resolved.request.seed}\n{toml_text(resolved.settings)}"
