"""Cost of a run before it starts, estimated from the card, the settings and the records of past runs.

Every estimate is a past record scaled to another size:

* the model's own training: by the examples that it will see (examples of an epoch x epochs, at most `max_steps` steps), or, for a model
  that only counts, by the interactions;
* what training asked for, such as text vectors: by the items, another model's training by the interactions;
* ranking: by the test users and, where every item is scored, by the items;
* memory: what every process takes stays as it is, the rest grows with the root of the items: between a model whose batches decide and
  one that holds a table over all items; at least what reading the events takes.

Of several records those on the data set nearest in size count, of these the median.

How good that is, is measured: each past record is predicted from the others in the same way. No torch, no training, no download.
"""

import json
import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.config import by_dotted_name
from recbench.core.durations import duration
from recbench.core.errors import BadRequest, DataUnavailable
from recbench.core.records import RunRecord, StagePart
from recbench.data import SplitProtocol, dataset_card, locate, make_split, read_dataset
from recbench.data.protocol import NOT_DRAWN, USERS
from recbench.running.host.machine import resolve_device
from recbench.running.host.workplace import Workplace
from recbench.running.requests import PlanRequest
from recbench.running.run.folders import known_records
from recbench.running.run.ranking import RANKING_STAGE
from recbench.running.run.resolve import plugin_for, settings_of
from recbench.running.run.training import training_stage
from recbench.tasks import task_of

Rule = Literal["same", "other-data", "other-preset"]
RULES: Mapping[Rule, str] = {
    "same": "runs of this model and preset on this data set",
    "other-data": "runs of this model and preset on other data sets, scaled",
    "other-preset": "runs of this model with other presets, scaled: a weak guide",
}
_LEAST_S = 1.0
"""Times below a second count as one: what a counter takes is noise."""
_COVERED = 0.8
_SAME_SIZE = 1e-9
_OWN_ENOUGH = 3
"""Past predictions of the model itself that suffice; with fewer, the errors of all models are used."""
_BYTES_PER_ENTRY = 8
_BYTES_PER_PARAMETER, _CHECKPOINT_COPIES = 4, 4
"""A checkpoint holds the weights, the best weights and two means of the gradient."""
_BYTES_PER_INTERACTION = 32
_BYTES_TO_READ_INTERACTION = 95
"""Peak of reading and dividing 0.5 to 50 million events, measured (docs/performance.md, Data at scale)."""
_TRAINING = "training"
"""Group of a plugin's settings that holds those of the training loop; they may also stand outside of groups."""
_NVIDIA = Path("/proc/driver/nvidia")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """Sizes that a cost depends on.

    Attributes:
        n_users: test users.
        n_items, n_interactions: size of the data set.
        source: origin of these numbers.
        n_held_out: users of whom events are held out; None: all test users. More where the protocol asks only some of them.
    """

    n_users: int
    n_items: int
    n_interactions: int
    source: str = ""
    n_held_out: int | None = None

    @property
    def n_examples(self) -> int:
        """(history, target) pairs of the train part, about: two events of a user are held out and the first has no history."""
        return max(1, self.n_interactions - 3 * (self.n_users if self.n_held_out is None else self.n_held_out))


@dataclass(frozen=True)
class Estimate:
    """An estimate with the range that held for four of five past predictions; None where no past run can tell."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PastError:
    """Errors of predictions of past records, as ratios of at least 1.

    Attributes:
        n: number of past records that this rule could predict from others.
        median, worst: larger of predicted / measured and measured / predicted.
        of: whose records these are.
    """

    n: int
    median: float
    worst: float
    of: str


@dataclass(frozen=True)
class Plan:
    """Estimated cost of a run.

    Attributes:
        row_name, dataset, device: run to estimate.
        sizes: sizes of the data.
        rule: which records it rests on; None where there is none, and with it no estimate.
        basis: run ids of those records.
        train_s, rank_s, total_s: seconds.
        memory_bytes: peak memory of the process.
        disk_bytes: peak disk space during training: weights, checkpoint, lists, data. Computed from sizes, not measured.
        time_error, memory_error: errors of this rule on past records.
        notes: caveats of the estimate, as sentences.
    """

    row_name: str
    dataset: str
    device: str
    sizes: Sizes
    rule: Rule | None
    basis: tuple[str, ...]
    train_s: Estimate | None
    rank_s: Estimate | None
    total_s: Estimate | None
    memory_bytes: Estimate | None
    disk_bytes: int | None
    time_error: PastError | None
    memory_error: PastError | None
    notes: tuple[str, ...]


def make_plan(request: PlanRequest, workplace: Workplace) -> Plan:
    """The plan of a run; nothing is trained, downloaded or written.

    Raises:
        BadRequest: the run itself would be impossible.
        DataUnavailable: the size of the data is not known here.
    """
    budget = Budget.parse(request.budget)
    request = replace(request, budget=budget.text)
    task = task_of(request.dataset)
    n_entries = len(task.views_of(request.seen)) * task.list_length
    protocol = task.protocol(request.protocol, request.ties)
    models = registry.models(request.plugins)
    plugin = plugin_for(request.model, task, models)
    device = _device_type(request.device)
    preset, config, _ = settings_of(plugin, request, task, device)
    settings = config.model_dump(mode="json")
    card = plugin.card
    everything = [
        record.with_present_config(card.moved, card.added) if record.model.name == request.model else record
        for record in known_records(workplace)
    ]
    sizes, dataset = _sizes(request.dataset, protocol, everything, workplace)
    beyond = card.beyond_size(sizes.n_items, psutil.virtual_memory().total)
    if beyond:
        raise BadRequest(f"Model {request.model!r} is not applicable: {beyond}. Choose another model or a smaller data set.")
    past = [record for record in everything if record.cost is not None and record.device.type == device]
    target = _Target(request.model, preset, dataset, sizes, settings, budget)
    for rule in RULES:
        basis = _basis(target, past, rule)
        if basis:
            return _plan(target, basis, rule, past, plugin.row_name(preset, config), device, n_entries)
    other = sorted({record.device.type for record in everything if record.model.name == request.model and record.cost is not None})
    where = f"; there are some of {', '.join(other)}" if other else ""
    note = f"No record of {request.model} on {device} to go by{where}. Run it once, bounded: --budget 500steps --jobs 1 tells the rate."
    return Plan(plugin.row_name(preset, config), dataset, device, sizes, None, (), None, None, None, None, None, None, None, (note,))


@dataclass(frozen=True)
class _Target:
    """A run to estimate, past or future."""

    model: str
    preset: str
    dataset: str
    sizes: Sizes
    config: Mapping[str, Any]
    budget: Budget


@dataclass(frozen=True)
class _Cost:
    train_s: float
    rank_s: float
    rest_s: float
    memory_bytes: float

    @property
    def total_s(self) -> float:
        return self.train_s + self.rank_s + self.rest_s


def _plan(
    target: _Target, basis: Sequence[RunRecord], rule: Rule, past: Sequence[RunRecord], row_name: str, device: str, n_entries: int
) -> Plan:
    base = min(record.cost.peak_memory_bytes for record in past if record.cost is not None)
    cost = _predict(target, basis, base)
    errors = [(record, *found) for record in past if (found := _errors_of(record, past, rule, base)) is not None]
    own = [error for error in errors if error[0].model.name == target.model]
    used = own if len(own) >= _OWN_ENOUGH else errors
    of = target.model if used is own else "all models"
    times, memories = [error[1] for error in used], [error[2] for error in used]
    total = cost.total_s
    notes = _notes(target, basis)
    if target.budget.unit == "seconds" and total > target.budget.amount:
        notes.append(f"The budget of {target.budget} bounds it; without one it would take about {duration(total)}.")
        cost = _Cost(max(0.0, target.budget.amount - cost.rank_s - cost.rest_s), cost.rank_s, cost.rest_s, cost.memory_bytes)
        total = target.budget.amount
    if target.budget.unit == "cpu-seconds" and any(record.fit.steps for record in basis):
        notes.append(f"Training takes the budget of {target.budget}.")
        cost = replace(cost, train_s=target.budget.amount)
        total = cost.total_s
    return Plan(
        row_name=row_name,
        dataset=target.dataset,
        device=device,
        sizes=target.sizes,
        rule=rule,
        basis=tuple(record.run_id for record in basis),
        train_s=_estimate(cost.train_s, times),
        rank_s=_estimate(cost.rank_s, times),
        total_s=_estimate(total, times),
        memory_bytes=_estimate(cost.memory_bytes, memories),
        disk_bytes=_disk(target, basis, n_entries),
        time_error=_past_error(times, of),
        memory_error=_past_error(memories, of),
        notes=tuple(notes),
    )


def _basis(target: _Target, past: Sequence[RunRecord], rule: Rule) -> list[RunRecord]:
    """The records that a prediction by this rule may use."""

    def fits(record: RunRecord) -> bool:
        if record.model.name != target.model:
            return False
        if rule == "other-preset":
            return record.model.preset != target.preset
        return record.model.preset == target.preset and (record.dataset.name == target.dataset) == (rule == "same")

    found = [record for record in past if fits(record)]
    nearest = min((_distance(record, target.sizes) for record in found), default=0.0)
    return [record for record in found if _distance(record, target.sizes) <= nearest + _SAME_SIZE]


def _distance(record: RunRecord, sizes: Sizes) -> float:
    """Distance of two data sets in size, as a sum of log ratios."""
    by_items = math.log(max(1, record.dataset.n_items) / sizes.n_items)
    return abs(by_items) + abs(math.log(max(1, record.dataset.n_interactions) / sizes.n_interactions))


def _errors_of(record: RunRecord, past: Sequence[RunRecord], rule: Rule, base: int) -> tuple[float, float] | None:
    """Errors in time and memory of predicting a past record from the others, as ratios; None where it cannot be predicted."""
    assert record.cost is not None
    budget = Budget.parse(record.budget)
    if record.fit.steps and (budget.sets_length or (budget.is_timed and record.fit.stopped_by == "budget")):
        return None  # the clock said how long it trained, not the examples that a prediction goes by
    sizes = Sizes(record.targets.n_users, record.dataset.n_items, record.dataset.n_interactions)
    target = _Target(record.model.name, record.model.preset, record.dataset.name, sizes, record.config, Budget.parse(_step_budget(record)))
    basis = _basis(target, [other for other in past if other.run_id != record.run_id], rule)
    if not basis:
        return None
    cost = _predict(target, basis, base)
    return _ratio(cost.total_s, record.cost.total_s, _LEAST_S), _ratio(cost.memory_bytes, record.cost.peak_memory_bytes, 1.0)


def _step_budget(record: RunRecord) -> str | None:
    """The budget of a record where it counts steps or examples; a bound in seconds predicts nothing."""
    return record.budget if record.budget and record.budget.endswith(("steps", "examples")) else None


def _predict(target: _Target, basis: Sequence[RunRecord], base: int) -> _Cost:
    """The median over the records, each scaled to the target."""
    costs = [_scaled(record, target, base) for record in basis]
    median = {name: statistics.median(getattr(cost, name) for cost in costs) for name in ("train_s", "rank_s", "rest_s", "memory_bytes")}
    median["memory_bytes"] = max(median["memory_bytes"], base + _BYTES_TO_READ_INTERACTION * target.sizes.n_interactions)
    return _Cost(**median)


def _scaled(record: RunRecord, target: _Target, base: int) -> _Cost:
    assert record.cost is not None
    sizes = target.sizes
    by_items = sizes.n_items / max(1, record.dataset.n_items)
    by_interactions = sizes.n_interactions / max(1, record.dataset.n_interactions)
    by_users = sizes.n_users / max(1, record.targets.n_users)
    own = _examples(record, target) / record.fit.examples_seen if record.fit.examples_seen else by_interactions

    def seconds(stage: StagePart) -> float:
        if stage.name == training_stage(record.model.name):
            return stage.seconds * own
        return stage.seconds * (by_interactions if stage.name.startswith(training_stage("")) else by_items)

    apart = {"dataset", "split"}
    return _Cost(
        train_s=sum(seconds(stage) for stage in record.stages if stage.name not in {*apart, RANKING_STAGE}),
        rank_s=record.cost.rank_s * by_users * (by_items if record.model.family == "scoring" else 1.0),
        rest_s=sum(stage.seconds for stage in record.stages if stage.name in apart) * by_interactions,
        memory_bytes=base + (record.cost.peak_memory_bytes - base) * math.sqrt(by_items),
    )


def _examples(record: RunRecord, target: _Target) -> float:
    """Examples that the target's training will see, if it stops as early as the record's did."""
    fit = record.fit
    per_step = fit.examples_seen / max(1, fit.steps)
    per_epoch = fit.examples_seen / fit.epochs if fit.epochs else float(fit.examples_possible)
    full = _full(record.config, per_epoch, per_step)
    # A bound by budget says nothing about when validation would have stopped it.
    share = 1.0 if fit.stopped_by == "budget" or not math.isfinite(full) else min(1.0, fit.examples_seen / full)
    scaled = per_epoch * target.sizes.n_examples / max(1, fit.examples_possible)
    found = _full(target.config, scaled, per_step)
    seen = share * found if math.isfinite(found) else fit.examples_seen * target.sizes.n_examples / max(1, fit.examples_possible)
    if target.budget.unit == "steps":
        return min(seen, target.budget.amount * per_step)
    return min(seen, target.budget.amount) if target.budget.unit == "examples" else seen


def _full(config: Mapping[str, Any], per_epoch: float, per_step: float) -> float:
    """Examples of a training that nothing stops early; infinite where the settings bound neither epochs nor steps."""
    training = config.get(_TRAINING, config)
    epochs, steps = training.get("max_epochs"), training.get("max_steps")
    by_epochs = float(epochs) * per_epoch if isinstance(epochs, int) else math.inf
    return min(by_epochs, float(steps) * per_step if isinstance(steps, int) else math.inf)


def _ratio(predicted: float, measured: float, least: float) -> float:
    first, second = max(predicted, least), max(measured, least)
    return max(first / second, second / first)


def _estimate(value: float, ratios: Sequence[float]) -> Estimate:
    if not ratios:
        return Estimate(value, None, None)
    ratio = sorted(ratios)[min(len(ratios) - 1, math.ceil(_COVERED * len(ratios)) - 1)]
    return Estimate(value, value / ratio, value * ratio)


def _past_error(ratios: Sequence[float], of: str) -> PastError | None:
    return PastError(len(ratios), statistics.median(ratios), max(ratios), of) if ratios else None


def _disk(target: _Target, basis: Sequence[RunRecord], n_entries: int) -> int:
    sizes = target.sizes

    def weights(record: RunRecord) -> float:
        fit = record.fit
        by_items = sizes.n_items / max(1, record.dataset.n_items)
        # What is learnt without steps, such as similarities, is a table over items; else only the vectors of items grow with them.
        grows = fit.parameters_embedding if fit.steps else fit.parameters
        return (fit.parameters - grows + grows * by_items) * _BYTES_PER_PARAMETER * (1 + (_CHECKPOINT_COPIES if fit.steps else 0))

    lists = n_entries * sizes.n_users * _BYTES_PER_ENTRY
    return round(statistics.median(weights(record) for record in basis) + lists + sizes.n_interactions * _BYTES_PER_INTERACTION)


def _notes(target: _Target, basis: Sequence[RunRecord]) -> list[str]:
    notes = []
    shared = sum(record.device.jobs > 1 for record in basis)
    if shared:
        notes.append(f"{shared} of the {len(basis)} records were made while other runs shared the machine: alone it may be faster.")
    machines = sorted({f"{record.device.name}, {record.device.threads} threads" for record in basis})
    notes.append(f"They were made on: {'; '.join(machines)}.")
    free = {f"{group}{name}" for group in ("", f"{_TRAINING}.") for name in ("max_steps", "max_epochs")}
    settings, others = by_dotted_name(target.config), [by_dotted_name(record.config) for record in basis]
    changed = sorted(key for key in settings.keys() - free if all(key in other and other[key] != settings[key] for other in others))
    if changed:
        named = ", ".join(f"{key}={json.dumps(settings[key], ensure_ascii=False)}" for key in changed)
        notes.append(f"No record has these settings, and their effect is not known: {named}.")
    return notes


def _sizes(dataset: str, protocol: SplitProtocol, past: Sequence[RunRecord], workplace: Workplace) -> tuple[Sizes, str]:
    """Sizes and name of a data set: from a record, from its card, or from the data where they are on this machine."""
    card = dataset_card(dataset)
    is_path = card.name != dataset

    rule_options = {key: value for key, value in protocol.options.items() if key != USERS}

    def asked(n_users: int, n_items: int, n_interactions: int, source: str) -> tuple[Sizes, str]:
        most = n_users if protocol.n_asked is None else min(n_users, protocol.n_asked)
        return Sizes(most, n_items, n_interactions, source, n_users), card.name

    for record in past:
        alike = record.protocol.split == protocol.name and record.protocol.split_options == rule_options
        if not is_path and alike and record.dataset.name == card.name:
            about = record.dataset
            return asked(record.targets.n_users, about.n_items, about.n_interactions, f"record {record.run_id}")
    counts = card.counts
    if not is_path and counts.users is not None and counts.items is not None and counts.interactions is not None:
        return asked(counts.users, counts.items, counts.interactions, "card")
    try:
        located = locate(dataset, data_dir=workplace.data, home=workplace.home, progress=workplace.progress, fetch=False)
    except DataUnavailable as error:
        raise DataUnavailable(f"How large {card.name!r} is stands on no record and not on its card. {error}") from None
    data = read_dataset(located, workplace.progress)
    split = make_split(data, protocol)
    n_held_out = len(split.test) + int(split.notes.get(NOT_DRAWN, 0))
    return Sizes(len(split.test), len(split.items), len(data.interactions.item), "the data", n_held_out), card.name


def _device_type(device: str) -> str:
    """`cpu` or `cuda`, without asking torch where the answer is known."""
    if device == "auto" and not _NVIDIA.exists():
        return "cpu"
    return device if device in {"cpu", "cuda"} else resolve_device(device).partition(":")[0]
