"""How well the best possible lists do on data whose process is known, and how far finished runs are from that.

Two oracles rank by the true probabilities. `history` knows the process and what a model sees of a user: no model can be better than that in
expectation. `history and user` also knows what the process hides about each user, and bounds what any further knowledge of users could add.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadRequest
from recbench.core.ragged import Histories, IntArray
from recbench.core.ranking import View
from recbench.core.records import RANKS_FILE, Interval
from recbench.data import Split, load_reader
from recbench.data.reader import HasProcess, Process
from recbench.data.reading import reader_options
from recbench.data.rules import LEAVE_ONE_OUT
from recbench.evaluation import (
    best_lists,
    exact_mean,
    expected_values,
    paired_bootstrap,
    ranks_of_targets,
    read_ranks,
    values_of_view,
    values_per_user,
)
from recbench.running.host.workplace import Workplace
from recbench.running.run.folders import is_own, readable_record, run_folders
from recbench.running.run.splits import LoadedSplit, load_split
from recbench.running.stages.store import StageStore
from recbench.tasks import Task, task_of

FloatArray = NDArray[np.float64]
Oracle = Literal["history", "history and user"]
ORACLES: tuple[Oracle, ...] = ("history", "history and user")
_CELLS_AT_A_TIME = 1 << 22


@dataclass(frozen=True)
class BestFigure:
    """The main metric of an oracle's lists in one view.

    Attributes:
        oracle: what it knows beside the process.
        view: of its lists.
        exact: mean over the test histories of the value that is expected of each, by the true probabilities of its target.
        sampled: mean over the targets that were drawn in fact.
        standard_error: of `sampled` around `exact`: it may be off because each history has a single target. Exact, too.
    """

    oracle: Oracle
    view: View
    exact: float
    sampled: float
    standard_error: float


@dataclass(frozen=True)
class Distance:
    """How far a run is below the oracle `history` in one view, on the same targets.

    Attributes:
        run_id, row_name, seed, n_parameters: of the run.
        view: of the lists.
        value: main metric of the run.
        share: `value` over that of the oracle; None where no target is in its lists.
        below: the oracle's value less the run's, with its 95 % interval over users.
    """

    run_id: str
    row_name: str
    seed: int
    n_parameters: int
    view: View
    value: float
    share: float | None
    below: Interval


@dataclass(frozen=True)
class Optimum:
    """What the best lists reach on one split.

    Attributes:
        dataset, protocol: of the split.
        metric: main metric of the task.
        n_users: number of test users.
        best: figures of both oracles in every view.
        runs: distances of finished runs, the nearest first.
    """

    dataset: str
    protocol: str
    metric: str
    n_users: int
    best: tuple[BestFigure, ...]
    runs: tuple[Distance, ...] = ()


def find_optimum(dataset: str, workplace: Workplace, *, protocol: str | None = None, with_runs: bool = False) -> Optimum:
    """The optimum of a data set whose process is known.

    Args:
        dataset: name with its options, or path of a card.
        workplace: folders of data, cache and runs, and the display of progress.
        protocol: how the data are divided; None: the default of the task.
        with_runs: whether finished runs on the same split are held against it.

    Raises:
        BadRequest: nobody knows the process of these data, or the protocol does not ask for a user's next event whatever it is.
    """
    task = task_of(dataset)
    asked = task.protocol(protocol)
    loaded = load_split(dataset, asked, workplace, StageStore(workplace.stages))
    process = _process_of(loaded)
    if asked.name != LEAVE_ONE_OUT.name:
        raise BadRequest(
            f"--protocol {asked}: which events it asks for may depend on what they are or when, so that their probabilities are others. "
            f"Use {LEAVE_ONE_OUT.name}."
        )
    values = _values(process, loaded.split, task)
    best = [
        BestFigure(oracle, view, exact_mean(of.mean), exact_mean(of.drawn), math.sqrt(math.fsum(of.variance.tolist())) / len(of.mean))
        for (oracle, view), of in values.items()
    ]
    bound = {view: values["history", view].drawn for view in task.views}
    runs = _distances(loaded.split, task, bound, workplace) if with_runs else ()
    return Optimum(loaded.card.name, loaded.split.protocol, task.main_metric, len(loaded.split.test), tuple(best), tuple(runs))


def _process_of(loaded: LoadedSplit) -> Process:
    reader = load_reader(loaded.card.reader)
    if not isinstance(reader, HasProcess):
        raise BadRequest(
            f"No optimum of {loaded.card.name} is known: the reader {loaded.card.reader!r} does not say how likely each next item was. "
            "Use generated data whose reader does (docs/known-optimum.md)."
        )
    if loaded.card.filters or loaded.card.catalogue != "table":
        raise BadRequest(
            f"No optimum of {loaded.card.name} is known: its card filters the events or drops items without any, which depends on what the "
            "events are. Take the filters off the card and leave catalogue = 'table'."
        )
    return reader.process(reader_options(reader, loaded.card))


@dataclass(frozen=True, eq=False)
class _Values:
    """Main metric of an oracle's lists, (B,) each: mean and variance over the targets that could be drawn, and the value for the drawn."""

    mean: FloatArray
    variance: FloatArray
    drawn: FloatArray


def _values(process: Process, split: Split, task: Task) -> dict[tuple[Oracle, View], _Values]:
    part, k = split.test, min(task.main_cutoff, len(split.items))
    values = {(oracle, view): _Values(*np.empty((3, len(part)))) for oracle in ORACLES for view in task.views}
    for rows in _blocks(len(part), len(split.items)):
        block = part.take(rows)
        for oracle in ORACLES:
            chance_BI = _chances(process, oracle, block.histories, block.user)
            lists = best_lists(chance_BI, block.histories, task.views, k)
            ranks = ranks_of_targets(lists, block.targets, block.queries(split.user_ids, task.views))
            for view in task.views:
                of = values[oracle, view]
                of.mean[rows], of.variance[rows] = expected_values(chance_BI, lists.view(view), task.main_metric)
                of.drawn[rows] = values_per_user(ranks[view], block.targets.offsets, [task.main_metric])[:, 0]
    return values


def _chances(process: Process, oracle: Oracle, histories: Histories, user: IntArray) -> FloatArray:
    return process.given_history(histories) if oracle == "history" else process.given_user(histories, user)


def _blocks(n_queries: int, n_items: int) -> Iterator[NDArray[np.int64]]:
    size = max(1, _CELLS_AT_A_TIME // n_items)
    return (np.arange(start, min(start + size, n_queries)) for start in range(0, n_queries, size))


def _distances(split: Split, task: Task, bound: dict[View, FloatArray], workplace: Workplace) -> Sequence[Distance]:
    """Finished runs on the split, the nearest to the oracle in the task's main view first."""
    found = []
    for folder in run_folders(workplace.runs):
        record = readable_record(folder) if is_own(folder) else None
        if record is None or (record.fingerprints.test, record.fingerprints.train) != (split.fingerprints.test, split.fingerprints.train):
            continue
        ranks = read_ranks(folder / RANKS_FILE)
        for view in ranks.views:
            value_U = values_of_view(ranks, view, [task.main_metric])[:, 0]
            found.append(
                Distance(
                    record.run_id,
                    record.model.row_name,
                    record.seed,
                    record.fit.parameters,
                    view,
                    exact_mean(value_U),
                    exact_mean(value_U) / best if (best := exact_mean(bound[view])) else None,
                    paired_bootstrap(bound[view], value_U),
                )
            )
    return sorted(found, key=lambda distance: (task.views.index(distance.view), distance.below.value))
