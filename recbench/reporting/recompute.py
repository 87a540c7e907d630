"""Whether the figures of a record follow from the files it names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recbench.core.errors import RecbenchError
from recbench.core.model_card import ModelCard
from recbench.core.ranking import View
from recbench.core.records import RECORD_FILE, Interval, RunRecord, SlicePart, TargetsPart
from recbench.core.tuning import TUNE_LOG, read_tune_log, same_settings
from recbench.reporting.archive import Fault, StoredRun, as_faults
from recbench.reporting.reckoner import Measured
from recbench.reporting.workers import MeasureJob, Workers

ENDS_AGREE = 1e-9
"""Ends of intervals may differ by so much; a page prints four decimals."""


def measured(runs: Sequence[StoredRun], workers: Workers) -> Iterator[tuple[int, Measured]]:
    """What follows from the files of each run, with its number; runs on one split come side by side."""
    order = sorted(range(len(runs)), key=lambda number: runs[number].files.split)
    found = workers.answers(MeasureJob(run=runs[number].files) for number in order)
    return zip(order, found, strict=True)


def compare(run: StoredRun, found: Measured, mend: str) -> tuple[int, list[Fault]]:
    """How many figures of a record were computed again, and a fault for each that came out otherwise; `mend` says what to do then."""
    path = run.folder / RECORD_FILE
    if found.damaged:
        return 0, as_faults(found.damaged)
    if found.refused or found.targets is None:
        return 0, [Fault(path, None, f"its figures cannot be computed again: {found.refused}")]
    record = run.record
    targets = found.targets.model_copy(update={"n_users_train_only": record.targets.n_users_train_only})
    said = _figures(record.metrics, record.slices, record.beyond) | _sizes(
        record.targets, record.dataset.n_items, record.protocol.list_length, record.protocol.views
    )
    again = _figures(found.metrics, found.slices, found.beyond) | _sizes(targets, found.n_items, found.list_length, found.views)
    faults = [
        Fault(path, None, f"{key} is {said.get(key)}, computed again from the ranks it is {again.get(key)}. {mend}")
        for key in sorted(said | again)
        if not _agree(key, said.get(key), again.get(key))
    ]
    return len(again), faults


def faults_of_record(run: StoredRun, mend: str) -> list[Fault]:
    """What of one record does not follow from the files beside it; `mend` says what to do then."""
    with Workers(1, 1) as workers:
        ((_, found),) = measured([run], workers)
    return compare(run, found, mend)[1]


def same_figures(one: RunRecord, other: RunRecord) -> bool:
    """Whether all figures of two records that follow from ranks agree."""
    said, again = (_figures(record.metrics, record.slices, record.beyond) for record in (one, other))
    return said.keys() == again.keys() and all(_agree(key, said[key], again[key]) for key in said)


def _agree(key: str, said: object, again: object) -> bool:
    """Whether two figures are one. Ends of intervals go through functions whose last digit hangs on the processor."""
    if key.endswith((", low", ", high")) and isinstance(said, float) and isinstance(again, float):
        return abs(said - again) <= ENDS_AGREE
    return said == again


def search_at_fault(run: StoredRun, cards: Mapping[str, ModelCard]) -> list[Fault]:
    """Claims of a record about the search for its settings that its log of trials does not bear out; `cards` by name of the model."""
    claim, path = run.record.tuned, run.folder / RECORD_FILE
    if claim is None:
        return []
    try:
        log, _ = read_tune_log(run.path(TUNE_LOG))
    except RecbenchError as error:
        return [Fault(path, None, f"it claims a search for its settings, whose log cannot be read: {error}")]
    record, card = run.record, cards.get(run.record.model.name)
    if card is not None:  # a run may take its settings from a search of before they were nested or gained
        record, log = record.with_present_config(card.moved, card.added), log.with_present_configs(card.moved, card.added)
    best = log.best()
    pruned = log.count("pruned") if log.prunes else None
    found = None if best is None else (len(log.trials), best.trial, best.score, log.dataset, log.valid, log.sampler, pruned)
    claimed = (claim.trials, claim.trial, claim.score, claim.dataset, claim.valid, claim.sampler, claim.pruned)
    has_budget = claim.budget in (None, log.budget)
    if best is not None and has_budget and found == claimed:
        if same_settings(best.config, record.config):
            return []
        return [
            Fault(path, None, f"its settings are not those of trial {best.trial}, which won the search in {TUNE_LOG}. Restore the record.")
        ]
    return [Fault(path, None, f"it claims trial {claim.trial} of {claim.trials}; {TUNE_LOG} says otherwise. Restore the record.")]


def _figures(
    metrics: Mapping[Any, Mapping[str, Interval]], slices: Sequence[SlicePart], beyond: Mapping[Any, Mapping[str, float]]
) -> dict[str, object]:
    """Every figure that follows from the ranks, under a name that says where it stands."""
    figures: dict[str, object] = {}
    groups = {f"metrics, {view}": part for view, part in metrics.items()}
    groups |= {f"slices, {part.slice}: {part.group}, {part.view}": part.metrics for part in slices}
    for name, intervals in groups.items():
        for metric, interval in intervals.items():
            figures |= {f"{name}, {metric}, {key}": value for key, value in interval.model_dump().items()}
    figures |= {f"slices, {part.slice}: {part.group}, {part.view}, n": part.n for part in slices}
    figures |= {f"beyond, {view}, {name}": value for view, part in beyond.items() for name, value in part.items()}
    return figures


def _sizes(targets: TargetsPart, n_items: int, list_length: int, views: Sequence[View]) -> dict[str, object]:
    """Other values of a record that follow from its files, under names as in `_figures`."""
    figures: dict[str, object] = {f"targets, {key}": value for key, value in targets.model_dump().items()}
    return figures | {"dataset, n_items": n_items, "protocol, list_length": list_length, "protocol, views": ", ".join(sorted(views))}
