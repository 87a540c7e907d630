"""What the HTML page tells of each record when a reader opens it: all but figures of groups, diagnostics and sums of files."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from recbench.core.records import RunRecord, StagePart
from recbench.reporting.board import Board, protocol_title
from recbench.reporting.grids import NOTHING, consumed, metric_title, peak_memory
from recbench.reporting.rows import code_version, machine, tuned_mark
from recbench.tasks import find_task

FACTS = (
    "Model",
    "Preset",
    "Encoder or language model",
    "Item text read",
    "Plugin from",
    "Data",
    "Protocol",
    "Command",
    "Started",
    "Seed",
    "Budget",
    "Machine",
    "Code",
    "Libraries",
    "Quality",
    "Training",
    "Parameters",
    "Chosen on validation",
    "Search",
    "Imported lists",
    "Time",
)
"""Titles of what is told in words; a fact that does not apply is an empty text."""
STAGES = ("Stage", "Seconds", "CPU s", "Peak memory MiB", "Steps", "From the cache")
_LEAST_SHARED = 16
"""Texts of fewer characters are cheaper to repeat than to look up."""


def records_of(boards: Sequence[Board]) -> dict[str, RunRecord]:
    """All records of the boards by run id, in order."""
    found = {
        run.record.run_id: run.record
        for board in boards
        for section in board.sections
        for board_row in section.rows
        for run in (*board_row.row.runs, *board_row.row.superseded)
    }
    return dict(sorted(found.items()))


class PageRecords:
    """Facts, settings and stages of records; long texts and settings that several records have stand once.

    Attributes:
        shared: texts that facts name by their place in this list.
        settings: distinct settings, as pairs of a dotted name and a value.
        runs: by run id: facts (text, or place of a shared text), place of the settings, stages.
    """

    def __init__(self, boards: Sequence[Board]) -> None:
        facts = {run_id: facts_of(record) for run_id, record in records_of(boards).items()}
        count = Counter(text for values in facts.values() for text in values)
        repeated = (text for text, n in count.items() if n > 1 and len(text) >= _LEAST_SHARED)
        place = {text: number for number, text in enumerate(repeated)}
        self.shared = list(place)
        self.settings: list[list[tuple[str, str]]] = []
        places: dict[str, int] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        for run_id, record in records_of(boards).items():
            settings = settings_of(record.config)
            key = json.dumps(settings)
            if key not in places:
                places[key] = len(self.settings)
                self.settings.append(settings)
            self.runs[run_id] = {
                "facts": [place.get(text, text) for text in facts[run_id]],
                "settings": places[key],
                "stages": [_stage(part, record) for part in record.stages],
            }


def facts_of(record: RunRecord) -> list[str]:
    """The facts of `FACTS` about a record, in words."""
    model, data, protocol = record.model, record.dataset, record.protocol
    return [
        model.row_name,
        model.preset,
        model.backbone or "",
        ", ".join(model.text) if model.text else "",
        "" if model.distribution == "recbench" else model.distribution,
        f"{data.title} ({data.name}): {data.n_users:,} users, {data.n_items:,} items, {data.n_interactions:,} interactions",
        f"{protocol_title(protocol)}; lists of {protocol.list_length}; views {' and '.join(protocol.views)}",
        shlex.join(record.command),
        record.started,
        str(record.seed),
        record.budget or "",
        machine(record) + (f"; {record.device.jobs} runs shared it" if record.device.jobs > 1 else ""),
        code_version(record),
        ", ".join(f"{name} {version}" for name, version in record.libraries.items()),
        _quality(record),
        _training(record),
        _parameters(record),
        ", ".join(f"{name} {_short(value)}" for name, value in record.fit.chosen.items()),
        _search(record),
        _imported(record),
        _time(record),
    ]


def _quality(record: RunRecord) -> str:
    parts = []
    for view, metrics in record.metrics.items():
        for name in find_task(record.task).interval_metrics:
            if name in metrics:
                found = metrics[name]
                parts.append(f"{metric_title(name)} {view} {found.value:.4f} [{found.low:.4f}, {found.high:.4f}]")
    return "; ".join(parts)


def _training(record: RunRecord) -> str:
    fit = record.fit
    if fit.passes is None:
        return ""
    looked = "" if fit.validations is None else f"; {fit.validations:,} looks at the validation part"
    return (
        f"{fit.steps:,} steps, {fit.epochs:.2f} epochs; {fit.examples_seen:,} examples seen, {fit.passes:.1f} passes over "
        f"{fit.examples_possible:,}{looked}; ended: {fit.stopped_by}"
    )


def _parameters(record: RunRecord) -> str:
    fit = record.fit
    if not fit.parameters:
        return ""
    return f"{fit.parameters:,}; {fit.parameters_trainable:,} trained, {fit.parameters_embedding:,} in embeddings"


def _search(record: RunRecord) -> str:
    tuned = record.tuned
    if tuned is None:
        return ""
    budget = f", {tuned.budget} each" if tuned.budget else ""
    return f"{tuned_mark(record, tuned)}: {tuned.trials} trials on {tuned.dataset}{budget}; number {tuned.trial} won with {tuned.score:.4f}"


def _imported(record: RunRecord) -> str:
    foreign = record.foreign
    if foreign is None:
        return ""
    cut, others = f"{foreign.lists_cut:,} lists were longer than what is measured", f"{foreign.users_not_asked:,} belong to nobody asked"
    return f"{foreign.file}; {cut}, {others}"


def _time(record: RunRecord) -> str:
    cost = record.cost
    if cost is None:
        return ""
    cpu = "" if cost.train_cpu_s is None else f" ({cost.train_cpu_s:,.1f} s of processor)"
    seconds = f"{cost.train_s:,.1f} s training{cpu}, {cost.rank_s:,.1f} s ranking, {cost.total_s:,.1f} s in all"
    memory = peak_memory(cost, on_device=record.device.type != "cpu")
    return f"{seconds}; {cost.users_per_s:,.0f} ranked per second; {memory} MiB at most" + "".join(
        f"; {phrase} in training" for phrase in consumed(cost)
    )


def _stage(part: StagePart, record: RunRecord) -> list[str]:
    cpu = NOTHING if part.cpu_seconds is None else f"{part.cpu_seconds:,.1f}"
    steps = NOTHING if part.steps is None else f"{part.steps:,}"
    memory = peak_memory(part, on_device=record.device.type != "cpu")
    return [part.name, f"{part.seconds:,.1f}", cpu, memory, steps, "yes" if part.reused else "no"]


def settings_of(config: Mapping[str, Any], group: str = "") -> list[tuple[str, str]]:
    """Settings as pairs of a dotted name and a value, groups unfolded."""
    pairs: list[tuple[str, str]] = []
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            pairs += settings_of(value, f"{group}{name}.")
        else:
            pairs.append((f"{group}{name}", json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value))
    return pairs


def _short(value: float | int | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
