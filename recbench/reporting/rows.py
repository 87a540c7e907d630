"""One row of a table: the runs of one setting, their seeds merged."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from recbench.core.config import canonical_json
from recbench.core.ranking import View
from recbench.core.records import Interval, RunRecord, TunePart
from recbench.evaluation.metrics import METRICS
from recbench.reporting.archive import StoredRun
from recbench.reporting.codes import sid_interval
from recbench.reporting.run_files import RunFiles
from recbench.tasks import Task, find_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Figure:
    """A measured mean over users with its 95 % interval.

    Attributes:
        value: mean over users, then over seeds.
        low, high: bootstrap interval: over users for one seed, over seeds and users for several.
        std: standard deviation over seeds (ddof 1); None for one seed.
    """

    value: float
    low: float
    high: float
    std: float | None = None


@dataclass(frozen=True)
class Cost:
    """Cost of a row, means over its seeds.

    Attributes:
        parameters: how many numbers were learnt.
        train_s, users_per_s, peak_memory_bytes: as in the record.
        peak_device_memory_bytes, train_energy_kwh, train_flops: as in the record; None where one of the runs does not say.
        on_device: whether they ran on a CUDA device.
        is_shared: several runs shared the machine, so times and memory say little.
        machine: device, threads and precision.
    """

    parameters: int
    train_s: float
    users_per_s: float
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None
    train_energy_kwh: float | None
    train_flops: float | None
    on_device: bool
    is_shared: bool
    machine: str


@dataclass(frozen=True)
class SliceFigure:
    """The main metric of one group of users, mean over seeds; `n` users."""

    slice: str
    group: str
    view: View
    n: int
    value: float


def _mean_of_all(values: Iterable[float | None]) -> float | None:
    """Their mean; None where one is missing."""
    found = list(values)
    known = [value for value in found if value is not None]
    return statistics.fmean(known) if len(known) == len(found) else None


def tuned_mark(record: RunRecord, tuned: TunePart) -> str:
    """`tuned-N`: the settings won a search of N trials; `tuned-N on X` where that was on another data set."""
    return f"tuned-{tuned.trials}" + ("" if tuned.valid == record.fingerprints.valid else f" on {tuned.dataset}")


def code_version(record: RunRecord) -> str:
    """Version and commit of the code that made a record, and of the code that computed its figures where that is another."""
    return str(record.code) + (f"; figures: {record.remeasured}" if record.remeasured is not None else "")


def machine(record: RunRecord) -> str:
    """Device, threads, precision and, where several worked together, the number of processes."""
    if record.foreign is not None:
        return "lists made elsewhere"
    device = record.device
    name = f"{device.type}: {device.name}" if device.name and device.name != device.type else device.type
    world = f", {device.world_size} processes" if device.world_size > 1 else ""
    return f"{name}, {device.threads} thread{'s' if device.threads != 1 else ''}, {device.precision}{world}"


def row_key(record: RunRecord) -> str:
    """Key that runs of one row share; runs that differ only in their seed have the same."""
    return canonical_json(
        [
            record.fingerprints.test,
            record.fingerprints.item_text if record.model.reads_text else None,
            record.model.columns,
            record.protocol.model_dump(mode="json"),
            record.model.name,
            record.model.row_name,
            record.config_hash,
            record.budget,
            record.model.backbone,
        ]
    )


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ only in their seed.

    Attributes:
        label: what to call the row; unique within its table.
        runs: the newest run of each seed, by seed.
        superseded: older runs of the same seeds.
        spread: intervals over users and seeds that are known already, by metric and view.
    """

    label: str
    runs: tuple[StoredRun, ...]
    superseded: tuple[StoredRun, ...] = ()
    spread: Mapping[tuple[str, View], Interval] = field(default_factory=dict)

    @property
    def record(self) -> RunRecord:
        """The record of the first seed; what rows share is the same in all."""
        return self.runs[0].record

    @property
    def files(self) -> tuple[RunFiles, ...]:
        """What the figures of each seed are computed from."""
        return tuple(run.files for run in self.runs)

    @property
    def task(self) -> Task:
        """The question that was asked."""
        return find_task(self.record.task)

    def main(self, view: View) -> float | None:
        """The task's main metric, mean over users and seeds; None where the view was not ranked."""
        return self.mean(self.task.main_metric, view)

    def has(self, metric: str, view: View) -> bool:
        """Whether all seeds have the metric: the view was ranked, and the lists are as long as it looks."""
        length = self.record.protocol.list_length
        return all(metric in run.record.metrics.get(view, {}) for run in self.runs) and METRICS.parse(metric)[1] <= length

    def mean(self, metric: str, view: View) -> float | None:
        """Mean over users and seeds; None where the view was not ranked or the list is shorter than k."""
        if not self.has(metric, view):
            return None
        return statistics.fmean(run.record.metrics[view][metric].value for run in self.runs)

    def std(self, metric: str, view: View) -> float | None:
        """Standard deviation over seeds (ddof 1); None for one seed or where there is no value."""
        if len(self.runs) == 1 or not self.has(metric, view):
            return None
        return statistics.stdev(run.record.metrics[view][metric].value for run in self.runs)

    def figure(self, metric: str, view: View) -> Figure | None:
        """The mean with its interval; None where there is none."""
        key = (metric, view)
        if key not in self._figures:
            self._figures[key] = self._figure(metric, view)
        return self._figures[key]

    @cached_property
    def _figures(self) -> dict[tuple[str, View], Figure | None]:
        return {}

    def _figure(self, metric: str, view: View) -> Figure | None:
        value = self.mean(metric, view)
        if value is None:
            return None
        if len(self.runs) == 1:
            interval = self.record.metrics[view][metric]
            return Figure(value, interval.low, interval.high)
        from recbench.reporting.reckoner import Reckoner

        interval = self.spread.get((metric, view)) or Reckoner().spread(self.files, metric, view)
        return Figure(value, interval.low, interval.high, self.std(metric, view))

    def code_figure(self, metric: str, view: View) -> Figure | None:
        """The metric at code level, see docs/protocol.md; None where a run of the row has none.

        Records keep no value per user at that level: the interval of several seeds is the mean of theirs.
        """
        found = [interval for run in self.runs if (interval := sid_interval(run.record, metric, view)) is not None]
        if len(found) < len(self.runs):
            return None
        values = [interval.value for interval in found]
        low, high = (statistics.fmean(getattr(interval, end) for interval in found) for end in ("low", "high"))
        return Figure(statistics.fmean(values), low, high, statistics.stdev(values) if len(values) > 1 else None)

    def per_user(self, metric: str, view: View) -> "NDArray[np.float64]":
        """(n_seeds, n_users), one value of `metric` per seed and test user."""
        import numpy as np

        return np.stack([run.per_user(metric, view) for run in self.runs])

    @property
    def cost(self) -> Cost | None:
        """Means over the seeds that had the machine to themselves; over all, and marked, where none had. None for lists made elsewhere."""
        known = [(run.record, run.record.cost) for run in self.runs if run.record.cost is not None]
        alone = [(record, cost) for record, cost in known if record.device.jobs == 1]
        if not known:
            return None
        records, costs = zip(*(alone or known), strict=True)
        device_peak = _mean_of_all(cost.peak_device_memory_bytes for cost in costs)
        return Cost(
            parameters=records[0].fit.parameters,
            train_s=statistics.fmean(cost.train_s for cost in costs),
            users_per_s=statistics.fmean(cost.users_per_s for cost in costs),
            peak_memory_bytes=round(statistics.fmean(cost.peak_memory_bytes for cost in costs)),
            peak_device_memory_bytes=None if device_peak is None else round(device_peak),
            train_energy_kwh=_mean_of_all(cost.train_energy_kwh for cost in costs),
            train_flops=_mean_of_all(cost.train_flops for cost in costs),
            on_device=any(record.device.type != "cpu" for record in records),
            is_shared=not alone,
            machine="; ".join(sorted({machine(record) for record in records})),
        )

    def slices(self, view: View) -> list[SliceFigure]:
        """The main metric of every group of users, in the order of the record."""
        main = self.task.main_metric
        values: dict[tuple[str, str], list[float]] = {}
        for run in self.runs:
            for part in run.record.slices:
                if part.view == view and main in part.metrics:
                    values.setdefault((part.slice, part.group), []).append(part.metrics[main].value)
        sizes = {(part.slice, part.group): part.n for part in self.record.slices if part.view == view}
        return [SliceFigure(*key, view, sizes.get(key, 0), statistics.fmean(found)) for key, found in values.items()]

    def beyond(self, view: View) -> dict[str, float]:
        """Figures beyond accuracy, means over seeds."""
        names = self.record.beyond.get(view, {})
        return {
            name: statistics.fmean(run.record.beyond[view][name] for run in self.runs)
            for name in names
            if all(name in run.record.beyond.get(view, {}) for run in self.runs)
        }

    @property
    def undertrained(self) -> str:
        """Why a run of the row hardly trained, such as `undertrained: 0.3 passes`; empty where all did."""
        return next((run.record.fit.undertrained for run in self.runs if run.record.fit.undertrained), "")

    def marks(self) -> list[str]:
        """Remarks that a reader needs on how the row was made."""
        records = [run.record for run in self.runs]
        found = [self.undertrained] if self.undertrained else []
        found.append("1 seed" if len(records) == 1 else f"{len(records)} seeds")
        if len({(record.code.version, record.code.commit, record.model.source_hash) for record in records}) > 1:
            found.append("mixed code versions")
        if any(record.code.is_dirty for record in records):
            found.append("uncommitted changes")
        if self.record.model.origin != "recbench" and self.record.foreign is None:
            found.append(f"plugin from {self.record.model.origin}")
        return found


def merge_seeds(runs: Iterable[StoredRun]) -> list[Row]:
    """Rows of runs, whatever the order the runs come in; best first.

    Of two runs with one seed in one row the newer counts. Rows of one name are told apart by backbone or config hash.
    """
    groups: dict[str, list[StoredRun]] = {}
    for run in sorted(runs, key=lambda run: (run.record.started, run.record.run_id), reverse=True):
        groups.setdefault(row_key(run.record), []).append(run)
    rows = []
    for members in groups.values():
        newest: dict[int, StoredRun] = {}
        for run in members:
            newest.setdefault(run.record.seed, run)
        used = tuple(newest[seed] for seed in sorted(newest))
        rows.append(Row(used[0].record.model.row_name, used, tuple(run for run in members if run not in used)))
    return sort_rows(_with_distinct_labels(rows))


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Highest main metric in the main view first; rows without that view last."""

    def place(row: Row) -> tuple[float, str]:
        value = row.main(row.task.main_view)
        return (float("inf") if value is None else -value, row.label)

    return sorted(rows, key=place)


def _with_distinct_labels(rows: Sequence[Row]) -> list[Row]:
    """The same rows; what sets rows of one name apart is added to the name, no more than it takes."""
    named = [_renamed(row, ", ".join([row.label, *_unusual(row)])) for row in rows]
    for mark in ("backbone", "config"):
        marks = {(row.label, _mark(row.record, mark)) for row in named}
        count = Counter(label for label, _ in marks)
        # A mark that all rows of one name share sets none of them apart.
        named = [row if count[row.label] == 1 else _renamed(row, f"{row.label}, {_mark(row.record, mark)}") for row in named]
    return named


def _mark(record: RunRecord, kind: str) -> str:
    return f"backbone {record.model.backbone or 'none'}" if kind == "backbone" else f"#{record.config_hash[:8]}"


def _unusual(row: Row) -> list[str]:
    """Remarks that a reader needs at once: settings from a search, a bound on training, views left out, lists of another length."""
    record, task = row.record, row.task
    protocol = record.protocol
    parts = [] if record.tuned is None else [tuned_mark(record, record.tuned)]
    if record.budget is not None:
        parts.append(f"budget {record.budget}")
    if len(protocol.views) < len(task.views):
        parts.append(f"{' and '.join(protocol.views)} only")
    if protocol.list_length != task.list_length:
        parts.append(f"lists of {protocol.list_length}")
    return parts


def _renamed(row: Row, label: str) -> Row:
    return replace(row, label=label)
