"""Ranking the test users again with a saved model: whether its weights give the figures of its record."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import recbench.evaluation as evaluation
from recbench import registry
from recbench.core.errors import BadData
from recbench.core.ranking import Rankings, View
from recbench.core.records import RANKS_FILE, Interval, RunRecord
from recbench.running.after.loaded import LoadedRun, record_with_model, split_of
from recbench.running.host.machine import Machine
from recbench.running.host.workplace import Workplace
from recbench.running.run.fit_context import ranked
from recbench.running.run.folders import refuse_changed
from recbench.running.run.ranking import queries_of_test
from recbench.running.run.recording import write_measured
from recbench.tasks import find_task


@dataclass(frozen=True)
class Difference:
    """One metric of a record and of what was measured now."""

    view: str
    metric: str
    recorded: float
    repeated: float


def metric_differences(record: RunRecord, metrics: Mapping[View, Mapping[str, Interval]]) -> tuple[Difference, ...]:
    """Every metric of a record beside the same of another measurement, in the order of the record."""
    return tuple(
        Difference(view, name, interval.value, metrics[view][name].value)
        for view, part in record.metrics.items()
        for name, interval in part.items()
    )


@dataclass(frozen=True)
class Evaluated:
    """Figures of a saved model, measured now.

    Attributes:
        record: of its run.
        differences: every metric, in the order of the record.
        n_ranks: (user, target, view) triples.
        n_ranks_changed: of these, ranks that are not those beside the record; None where no ranks lie there.
    """

    record: RunRecord
    differences: tuple[Difference, ...]
    n_ranks: int
    n_ranks_changed: int | None

    @property
    def largest(self) -> float:
        """Largest difference of a figure from the recorded one."""
        return max(abs(found.recorded - found.repeated) for found in self.differences)

    @property
    def is_exact(self) -> bool:
        """Whether every figure is the recorded one, and every rank where there are any."""
        return not self.n_ranks_changed and self.largest == 0


def evaluate_run(
    folder: Path,
    workplace: Workplace,
    *,
    dataset: str | None = None,
    plugins: Sequence[Path] = (),
    device: str = "auto",
    threads: int | None = None,
) -> Evaluated:
    """Rank the catalogue for every test user with the saved model of a run, without training, and compare with its record.

    Args:
        folder: run folder.
        workplace: folders of data and cache, and the display of progress.
        dataset: name or path of the data, where the record's name is not enough.
        plugins: folders of models that are not installed.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: number of CPU threads to use; None: one per core.

    Raises:
        BadRequest: the run holds no model.
        SplitMismatch: the data here make another split than the run's.
        BadData: the record holds a figure that its lists do not give.
    """
    record = record_with_model(folder)
    machine = Machine.resolve(device, "auto", threads)
    run = LoadedRun.open(folder, registry.models(plugins).load(record.model.name), device=machine.device)
    split, task = split_of(record, dataset, workplace), find_task(record.task)
    parts = [
        rankings
        for _, rankings in ranked(
            run.recommender,
            queries_of_test(split, record.protocol.views),
            record.protocol.list_length,
            len(split.items),
            workplace.progress,
            "ranking test users",
        )
    ]
    lists = Rankings(
        views=parts[0].views,
        items=np.concatenate([part.items for part in parts], axis=1),
        scores=np.concatenate([part.scores for part in parts], axis=1),
    )
    with tempfile.TemporaryDirectory() as name:
        measured = write_measured(Path(name), task, split, lists)
        ranks = evaluation.read_ranks(Path(name) / RANKS_FILE)
    strange = next(
        (f"{name} {view}" for view, part in record.metrics.items() for name in part if name not in measured.result.metrics.get(view, {})),
        None,
    )
    if strange is not None:
        raise BadData(
            f"{record.run_id}: the record says {strange}, which lists of {record.protocol.list_length} do not give. It was edited."
        )
    changed = None
    if (folder / RANKS_FILE).is_file():
        refuse_changed(folder, [record.file(RANKS_FILE)])
        recorded = evaluation.read_ranks(folder / RANKS_FILE)
        changed = sum(int((recorded.rank[view] != ranks.rank[view]).sum()) for view in ranks.views)
    return Evaluated(record, metric_differences(record, measured.result.metrics), len(ranks) * len(ranks.views), changed)
