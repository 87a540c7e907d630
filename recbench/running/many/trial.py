"""One trial of a search: training and validation, never the test part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recbench.core.errors import PluginFailed, Pruned
from recbench.running.host.workplace import Workplace
from recbench.running.many.study import ValidationReporter
from recbench.running.requests import RunRequest
from recbench.running.run.fit_context import validation_sums
from recbench.running.run.perform import Prepared, prepare
from recbench.running.run.recording import training_seconds
from recbench.running.run.resolve import resolve
from recbench.running.run.training import TrainedModel, Trainer
from recbench.running.stages.facts import Facts
from recbench.running.stages.store import StageStore
from recbench.running.tracking import Trackers

VALIDATION_STAGE = "validation"
_SCORE_FILE = "score.json"


class _Score(Facts):
    """Result of ranking the validation users."""

    metric: str
    score: float


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """Result of one training; the fields are those of `core.tuning.Trial`."""

    state: Literal["done", "pruned"] = "done"
    score: float | None = None
    measured_by: Literal["training", "ranking"] | None = None
    steps: int
    epochs: float
    stopped_by: str
    parameters: int = 0
    train_s: float
    train_cpu_s: float | None = None
    peak_memory_bytes: int = 0
    reason: str = ""


def run_trial(request: RunRequest, workplace: Workplace, *, started_at: float | None = None) -> TrialOutcome:
    """Train with these settings, from the cache or a checkpoint where there is one, and score the model on the validation part.

    A trial whose request names a journal reports its validations there, and may be pruned.
    """
    resolved = resolve(request, alone=True, started_at=started_at)
    metric = resolved.task.validation_metrics[0]
    reporter = None if request.journal is None else ValidationReporter(request.journal, request.trial, metric)
    trackers = Trackers(request.track, workplace.runs)
    # Who decides comes last: the validation that a trial is stopped for is tracked too.
    listeners = (trackers,) if reporter is None else (trackers, reporter)
    prepared = prepare(resolved, workplace, StageStore(workplace.stages), ranks_test=False, listeners=listeners)
    try:
        with prepared.followed(trackers, f"{prepared.name.stem}-trial-{request.trial}", trial=str(request.trial)):
            outcome = _trained(request, metric, prepared, trackers, reporter)
            trackers.figures |= {"train_s": outcome.train_s} | ({} if outcome.score is None else {f"validation/{metric}": outcome.score})
            return outcome
    except Pruned as stopped:
        return TrialOutcome(
            state="pruned",
            steps=stopped.steps,
            epochs=stopped.epochs,
            stopped_by="pruned",
            train_s=stopped.elapsed.seconds,
            train_cpu_s=stopped.elapsed.cpu_seconds,
            reason=str(stopped),
        )


def _trained(request: RunRequest, metric: str, prepared: Prepared, trackers: Trackers, reporter: ValidationReporter | None) -> TrialOutcome:
    trained = prepared.train()
    if trained.stage.reused:
        trackers.replay(trained.report.curve)
        if reporter is not None:
            reporter.report_all(trained.report.curve)
    reported = trained.report.chosen.get(metric)
    # A model that selects by this figure has it for the weights it kept; ranking the same users again would give it once more.
    if isinstance(reported, str):
        raise PluginFailed(f"Model {request.model!r}: the report of fit has chosen[{metric!r}] = {reported!r}; a number is needed.")
    score = float(reported) if reported is not None else _ranked_score(prepared.trainer, trained)
    return TrialOutcome(
        score=score,
        measured_by="ranking" if reported is None else "training",
        steps=trained.report.steps,
        epochs=trained.report.epochs,
        stopped_by=trained.report.stopped_by,
        parameters=trained.report.parameters.total,
        train_s=training_seconds(trained.lineage),
        peak_memory_bytes=max(part.peak_memory_bytes for part in trained.lineage),
    )


def _ranked_score(trainer: Trainer, trained: TrainedModel) -> float:
    """The first validation metric of all validation users, ranked by the trained model."""
    split, metric = trainer.split, trainer.task.validation_metrics[0]

    def rank(folder: Path) -> None:
        sums = validation_sums(trained.recommender, trainer.task, split, np.arange(len(split.valid)), trainer.progress)
        _Score(metric=metric, score=float(sums[0] / max(sums[-1], 1.0))).write(folder / _SCORE_FILE)

    parts = {"training": trained.stage.key, "valid": split.fingerprints.valid, "metric": metric}
    stage = trainer.store.get(VALIDATION_STAGE, parts, rank)
    return _Score.read(stage.folder / _SCORE_FILE).score
