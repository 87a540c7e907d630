"""Differences between two runs, and what they mean for their figures: `recbench diff` and `recbench reproduce`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbench.core.config import by_dotted_name
from recbench.core.model_card import ModelCard
from recbench.core.records import RunRecord
from recbench.reporting.archive import StoredRun
from recbench.reporting.rows import code_version, machine

_DATA_NOTES = {
    "train": "the models learnt from other data",
    "valid": "settings were chosen on other targets",
    "test": "the figures are about other targets and cannot be compared",
    "item_text": "the items have other texts; it counts where a model reads them",
}
_COLUMN_NOTE = "the models read other values of this item column"


@dataclass(frozen=True)
class Difference:
    """One thing in which two runs differ.

    Attributes:
        area: `setting`, `data`, `code`, `library`, `machine`, `training`, `figure`.
        name: what differs, such as `config.width` or `keep ndcg@10`.
        first, second: its value in each run; `–` where there is none.
        note: what it means; for figures the difference with its paired 95 % interval.
    """

    area: str
    name: str
    first: str
    second: str
    note: str = ""


def diff(first: Path, second: Path, cards: Mapping[str, ModelCard]) -> list[Difference]:
    """All that differs between two runs, causes before figures; empty where nothing does.

    Args:
        first, second: run folders or folders of published records.
        cards: of the models known here, by name; they say where settings of old records stand today.
    """
    one, other = StoredRun.open(first), StoredRun.open(second)
    a, b = (
        record.with_present_config(card.moved, card.added) if (card := cards.get(record.model.name)) else record
        for record in (one.record, other.record)
    )
    return [
        *_settings(a, b),
        *_of("data", a.fingerprints.model_dump(), b.fingerprints.model_dump(), _DATA_NOTES, shorten=16),
        *_of("data", a.model.columns, b.model.columns, dict.fromkeys([*a.model.columns, *b.model.columns], _COLUMN_NOTE), shorten=16),
        *_of("code", _code(a), _code(b), _code_notes(a, b)),
        *_of("library", a.libraries, b.libraries),
        *_of("machine", _machine(a), _machine(b), {"precision": "figures differ in their last digits or more"}),
        *_of("training", _training(a), _training(b)),
        *_figures(one, other),
    ]


def _settings(a: RunRecord, b: RunRecord) -> list[Difference]:
    def settings(record: RunRecord) -> dict[str, Any]:
        named: dict[str, Any] = {"model": record.model.name, "preset": record.model.preset, "data set": record.dataset.name}
        named |= {"seed": record.seed, "budget": record.budget, "backbone": record.model.backbone}
        return named | by_dotted_name({"config": record.config, "protocol": record.protocol.model_dump(mode="json")})

    notes = {"seed": "every random number differs", "budget": "one may train for longer"}
    return _of("setting", settings(a), settings(b), notes)


def _code(record: RunRecord) -> dict[str, Any]:
    return {"version": code_version(record), "plugin source": record.model.source_hash[:16], "plugin from": record.model.origin}


def _code_notes(a: RunRecord, b: RunRecord) -> dict[str, str]:
    source = "the model or a part it uses was changed" if a.model.name == b.model.name else "they are different models"
    return {"plugin source": source, "version": "recbench itself changed"}


def _machine(record: RunRecord) -> dict[str, Any]:
    return {"machine": machine(record), "precision": record.device.precision, "jobs": record.device.jobs}


def _training(record: RunRecord) -> dict[str, Any]:
    fit = record.fit
    counts = {"steps": fit.steps, "examples seen": fit.examples_seen, "parameters": fit.parameters, "stopped by": fit.stopped_by}
    return counts | {f"chosen {key}": value for key, value in fit.chosen.items()}


def _figures(one: StoredRun, other: StoredRun) -> list[Difference]:
    a, b = one.record, other.record
    is_paired = a.fingerprints.test == b.fingerprints.test
    rows = []
    for view, metrics in a.metrics.items():
        for metric, interval in metrics.items():
            again = b.metrics.get(view, {}).get(metric)
            if again is None or again.value == interval.value:
                continue
            note = "other targets: no interval"
            if is_paired:
                from recbench.evaluation import paired_bootstrap

                values = (run.per_user(metric, view) for run in (other, one))
                gap = paired_bootstrap(*values, cluster=one.cluster)
                note = f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
            rows.append(Difference("figure", f"{view} {metric}", f"{interval.value:.4f}", f"{again.value:.4f}", note))
    return rows


def _of(
    area: str, first: Mapping[str, Any], second: Mapping[str, Any], notes: Mapping[str, str] | None = None, *, shorten: int | None = None
) -> list[Difference]:
    names = [*first, *(name for name in second if name not in first)]
    return [
        Difference(area, name, _text(first.get(name))[:shorten], _text(second.get(name))[:shorten], (notes or {}).get(name, ""))
        for name in names
        if first.get(name) != second.get(name)
    ]


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
