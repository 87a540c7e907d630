"""Evaluating a run's rankings and writing its record."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import recbench.evaluation as evaluation
from recbench.core.digests import file_sha256
from recbench.core.errors import BadData, PluginFailed
from recbench.core.interactions import ItemTable
from recbench.core.plugin import FitReport, Plugin
from recbench.core.ranking import Rankings
from recbench.core.records import (
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
from recbench.data import Split
from recbench.running.host import provenance
from recbench.running.host.machine import Machine
from recbench.running.run.catalogue import CATALOGUE_FILE, write_catalogue
from recbench.running.run.ranking import RANKING_STAGE, RankedTest, queries_of_test
from recbench.running.run.references import REFERENCES_FILE
from recbench.running.run.searched_settings import TunedSettings
from recbench.running.run.splits import LoadedSplit
from recbench.running.run.training import MODEL_FOLDER, TrainedModel, link_or_copy
from recbench.running.stages.keys import plugin_source_hash
from recbench.running.stages.store import Stage
from recbench.tasks import Task

CONFIG_FILE = "config.toml"
_CURVE_COLUMNS = ("step", "epoch", "seconds", "loss", "learning_rate")


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run that a record keeps besides its results."""

    started: datetime
    command: tuple[str, ...]
    plugin: Plugin
    distribution: str
    preset: str
    row_name: str
    config: Mapping[str, Any]
    config_hash: str
    content_hash: str | None
    """Hash of the files and folders that the settings name; None where they name none."""
    revisions: Mapping[str, str]
    """Settings that name a thing elsewhere, each with the value that says which revision was read."""
    budget: str | None
    seed: int
    machine: Machine
    world_size: int
    jobs: int
    protocol: ProtocolPart
    tuned: TunedSettings | None = None
    """The search that the settings come from."""


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
        evaluation.write_ranks(ranks, folder / "ranks.parquet"),
        evaluation.write_exposure(exposure, folder / "exposure.parquet"),
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


def file_parts(paths: Sequence[Path]) -> list[FilePart]:
    """Names and hashes of a run's files."""
    return [FilePart(name=path.name, sha256=file_sha256(path)) for path in paths]


def _model_files(training: Stage) -> list[FilePart]:
    """The files of the model with the sums of the stage that wrote them: weights can be gigabytes, and are hashed once."""
    return [FilePart(name=name, sha256=sha256) for name, sha256 in training.sums().items() if name.startswith(f"{MODEL_FOLDER}/")]


def write_run(folder: Path, run_id: str, facts: RunFacts, loaded: LoadedSplit, trained: TrainedModel, tested: RankedTest) -> RunRecord:
    """Fill a run folder with ranks, exposure, curve, settings, model and, last, the record that ties them together."""
    split, rankings = loaded.split, tested.rankings
    measured = write_measured(folder, loaded.task, split, rankings)
    written = [*measured.files, write_curve(trained.report, folder), *folder.glob(REFERENCES_FILE)]
    codes, code_figures = _keep_codes(folder, facts, loaded, trained)
    (folder / CONFIG_FILE).write_text(_config_text(facts), encoding="utf-8")
    write_catalogue(split.items, folder)
    shutil.copytree(trained.stage.folder / MODEL_FOLDER, folder / MODEL_FOLDER, copy_function=link_or_copy)
    if facts.tuned is not None:
        written.append(facts.tuned.keep(folder / TUNE_LOG))
    stages = [*(stage.part() for stage in loaded.stages), *trained.lineage, tested.stage.part()]
    record = RunRecord(
        run_id=run_id,
        started=facts.started.isoformat(timespec="seconds"),
        command=list(facts.command),
        model=_model_part(facts, loaded.split.items),
        dataset=dataset_part(loaded),
        task=loaded.task.name,
        protocol=facts.protocol,
        fingerprints=split.fingerprints,
        config=dict(facts.config),
        config_hash=facts.config_hash,
        budget=facts.budget,
        seed=facts.seed,
        code=provenance.code(),
        libraries=provenance.libraries(),
        device=DevicePart(
            type=facts.machine.type,
            name=facts.machine.name,
            threads=facts.machine.threads,
            precision=facts.machine.precision,
            world_size=facts.world_size,
            jobs=facts.jobs,
        ),
        stages=stages,
        fit=_fit_part(trained.report),
        targets=measured.targets,
        metrics=dict(measured.result.metrics),
        slices=measured.result.slices,
        beyond=dict(measured.result.beyond),
        diagnostics={
            # First, so that no counter of a model replaces a figure that was measured.
            **{name: float(count) for name, count in rankings.counters.items()},
            **evaluation.list_diagnostics(rankings),
            **evaluation.tie_sensitivity(rankings, split.test.targets, loaded.task.main_cutoff),
            **code_figures,
            **_domination(facts, trained, folder),
        },
        cost=_cost_part(stages, tested, len(split.test)),
        files=[*file_parts([*written, *codes, folder / CONFIG_FILE, folder / CATALOGUE_FILE]), *_model_files(trained.stage)],
        tuned=None if facts.tuned is None else facts.tuned.part(),
    )
    (folder / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")
    return record


def write_curve(report: FitReport, folder: Path) -> Path:
    """`curve.csv`: a row per point, an empty field where nothing was measured."""
    names = sorted({name for point in report.curve for name in point.validation or {}})
    path = folder / "curve.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*_CURVE_COLUMNS, *names])
        for point in report.curve:
            values = [getattr(point, column) for column in _CURVE_COLUMNS] + [(point.validation or {}).get(name) for name in names]
            writer.writerow(["" if value is None else repr(value) for value in values])
    return path


def _keep_codes(folder: Path, facts: RunFacts, loaded: LoadedSplit, trained: TrainedModel) -> tuple[list[Path], dict[str, float]]:
    """The codes of the items as a file of the run, and what is to be said about them; nothing where the model has none."""
    source = trained.report.artefacts.get("codes")
    if source is None:
        return [], {}
    path = folder / evaluation.CODES_FILE
    link_or_copy(source, path)
    items = loaded.split.items
    try:
        table = evaluation.read_codes(path)
    except BadData as error:
        raise PluginFailed(f"Model {facts.plugin.card.name!r} gave codes that cannot be read. {error}") from error
    if len(table.code) != len(items):
        raise PluginFailed(f"Model {facts.plugin.card.name!r} gave codes of {len(table.code)} items; the data set has {len(items)}.")
    paths = items.columns.get("categories")
    return [path], evaluation.code_figures(table, None if paths is None else evaluation.main_categories(list(paths)))


def _domination(facts: RunFacts, trained: TrainedModel, folder: Path) -> dict[str, float]:
    """What is to be said about the spaces of item vectors that the model names, and about codes that lie in the folder; nothing where it
    names none. The matrices stay where they are: they are too large for a record."""
    source = trained.report.artefacts.get("spaces")
    if source is None:
        return {}
    try:
        spaces = evaluation.read_spaces(source)
    except BadData as error:
        raise PluginFailed(f"Model {facts.plugin.card.name!r} gave spaces that cannot be read. {error}") from error
    codes = folder / evaluation.CODES_FILE
    return evaluation.domination_figures(spaces, evaluation.read_codes(codes).code[:, 0] if codes.exists() else None)


def _model_part(facts: RunFacts, items: ItemTable) -> ModelPart:
    card = facts.plugin.card
    backbone = _backbone(facts)
    fields = [name for setting in card.text for name in facts.config[setting]]
    holding = [name for name, column in items.columns.items() if any(value is not None for value in column)]
    return ModelPart(
        name=card.name,
        preset=facts.preset,
        row_name=facts.row_name,
        family=card.family,
        is_trivial=card.is_trivial,
        reads_text="item_text" in card.needs,
        backbone=backbone,
        text=tuple(name for name in fields if name in holding) if card.text else None,
        distribution=facts.distribution,
        source_hash=plugin_source_hash(facts.plugin.folder),
    )


def _backbone(facts: RunFacts) -> str | None:
    """The pretrained weights that say most about the row, with the revision or content that was read; None where there are none."""
    setting = next((name for name in facts.plugin.card.backbone if facts.config[name]), None)
    if setting is None:
        return None
    if setting in facts.revisions:
        return facts.revisions[setting]
    return str(facts.config[setting]) + ("" if facts.content_hash is None else f" ({facts.content_hash[:12]})")


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


def _cost_part(stages: list[StagePart], tested: RankedTest, n_users: int) -> CostPart:
    """Costs do not depend on cache luck: a reused stage counts with what it cost when it was computed."""
    return CostPart(
        train_s=training_seconds(stages),
        rank_s=tested.rank_s,
        total_s=sum(stage.seconds for stage in stages),
        users_per_s=n_users / max(tested.rank_s, 1e-9),
        peak_memory_bytes=max(stage.peak_memory_bytes for stage in stages),
        peak_device_memory_bytes=max((peak for stage in stages if (peak := stage.peak_device_memory_bytes) is not None), default=None),
    )


def training_seconds(stages: Sequence[StagePart]) -> float:
    """Seconds between the split and the ranking: the training and all that it asked for."""
    return sum(stage.seconds for stage in stages if stage.name not in {"dataset", "split", RANKING_STAGE})


def _config_text(facts: RunFacts) -> str:
    """The resolved settings as TOML; a key that is None is left out, as TOML has no word for it."""
    import json

    lines = [f"# {facts.row_name}, seed {facts.seed}"]
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in facts.config.items() if value is not None]
    return "\n".join(lines) + "\n"
