"""Context of a model's `fit`."""

import inspect
import logging
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from recbench.core import seeds
from recbench.core.budget import Budget
from recbench.core.elapsed import NO_TIME
from recbench.core.errors import BadConfig, BadRequest, PluginFailed
from recbench.core.features import Features
from recbench.core.interactions import Interactions, ItemTable, StringArray, TimeKind
from recbench.core.plugin import CurvePoint, Plugin, Precision, Ranker, Validation, World
from recbench.core.progress import Progress
from recbench.core.ragged import Histories, sealed_copy
from recbench.core.ranking import Queries, Rankings, View
from recbench.core.records import StagePart
from recbench.core.visible import short_repr
from recbench.data import Split
from recbench.evaluation import ranks_of_targets, values_per_user
from recbench.running.run.budgeted_progress import BudgetedProgress
from recbench.running.run.guard import GuardedRanker
from recbench.running.stages.facts import Count, Facts
from recbench.running.stages.keys import hash_path, module_source_hash, plugin_source_hash
from recbench.running.stages.store import StageStore, stage_content
from recbench.tasks import Task

SPENT_FILE = "spent.json"
"""File with the steps and examples of trainings inside a stage, for the budgets of runs that find the stage in the cache."""
ORDERS_OF_A_SET = 8
"""Random orders in which a model of sequences sees each set: four items have 24, most sets hold three or four."""
_STAGE_NAME, _STAGE_RULE = r"[A-Za-z0-9][A-Za-z0-9._-]{,99}", "at most 100 letters, digits, dots, - and _"
_SUBSET_SEED = 0
_QUERIES_PER_CALL = 4_096
_EVALUATION_S_PER_USER = 1e-4
_FIXED_RESERVE_S = 1.5
_WARM_UP_USERS, _REHEARSED_USERS, _MORE_REHEARSED_USERS = 8, 128, 1_024
_QUICK_REHEARSAL_S = 0.2
"""Least seconds of a rehearsal; after a shorter one a larger sample is timed."""


def ranked(
    ranker: GuardedRanker, queries: Queries, k: int, n_items: int, progress: Progress, title: str, *, n_done: int = 0
) -> Iterator[tuple[int, Rankings]]:
    """Checked answers to all queries behind the first `n_done`, in calls of bounded size: (number of the first query, rankings)."""
    with progress.task(title, len(queries)) as task:
        task.advance(n_done)
        for start in range(n_done, len(queries), _QUERIES_PER_CALL):
            part = queries.take(np.arange(start, min(start + _QUERIES_PER_CALL, len(queries))))
            rankings = ranker.answers(part, k, n_items=n_items, first_query=start)
            task.advance(len(part))
            yield start, rankings


def validation_sums(ranker: GuardedRanker, task: Task, split: Split, rows: NDArray[np.int64], progress: Progress) -> NDArray[np.float64]:
    """Sums of the task's validation metrics over these queries of the validation part, and behind them the number of queries."""
    part, names, view = split.valid, task.validation_metrics, task.validation_view
    queries = part.queries(split.user_ids, (view,))
    sums = np.zeros(len(names) + 1)
    for first, rankings in ranked(ranker, queries.take(rows), task.validation_cutoff, len(split.items), progress, "validation"):
        mine = rows[first : first + rankings.items.shape[1]]
        targets = part.targets.take(mine)
        rank = ranks_of_targets(rankings, targets, queries.take(mine))[view]
        sums[:-1] += values_per_user(rank, targets.offsets, names).sum(axis=0)
        sums[-1] += len(mine)
    return sums


class _Spent(Facts):
    """The content of `SPENT_FILE`."""

    steps: Count
    examples: Count


class Listener(Protocol):
    """Somebody who wants to know how far a training is: a tracker, or the search that it is a trial of."""

    def note(self, point: CurvePoint, *, examples: int, validations: int) -> None:
        """See `FitContext.note`."""


@dataclass(frozen=True)
class FinalRanking:
    """The ranking of the test users that follows training: its views and the length of its lists."""

    views: tuple[View, ...]
    k: int


@dataclass(frozen=True)
class _Build:
    """Values that `RunContext.alone` takes from the stage that is being built."""

    checkpoints: Path
    seed: int
    budget: Budget


class UndeclaredTexts(Mapping[str, StringArray]):
    """Columns of item text for a model whose card does not say that it reads any: no stage would be made again when the texts change."""

    def __init__(self, model: str) -> None:
        self._model = model

    def _refuse(self) -> NoReturn:
        raise BadConfig(
            f"Model {self._model!r} reads item text and its card does not say so, so that no change of the texts would be seen. "
            'Write needs = ["item_text"] into the card, or may_read = ["item_text"] where it can do without.'
        )

    def __getitem__(self, name: str) -> StringArray:
        self._refuse()

    def __iter__(self) -> Iterator[str]:
        self._refuse()

    def __len__(self) -> int:
        self._refuse()


class DeclaredColumns(dict[str, StringArray]):
    """The model columns that a card names; no stage would be made again when another one changes, so asking for that is an error."""

    def __init__(self, model: str, columns: Mapping[str, StringArray]) -> None:
        super().__init__(columns)
        self._model = model

    def __missing__(self, name: str) -> NoReturn:
        raise BadConfig(
            f"Model {self._model!r} reads the item column {name!r} and its card does not say so, so that no change of it would be seen. "
            f'Write needs_columns = ["{name}"] into the card.'
        )


@dataclass
class RunContext:
    """The harness's side of `core.plugin.FitContext`: train part, validation by callback, stages, budget.

    `split` and `store` are the harness's own; a model that reached for the split's test part would break the contract that
    `recbench.testing` checks.
    """

    plugin: Plugin
    seed: int
    device: str
    precision: Precision
    threads: int
    progress: Progress
    budget: Budget
    log: logging.Logger
    _checkpoints: Path
    _task: Task = field(repr=False)
    _split: Split = field(repr=False)
    _store: StageStore = field(repr=False)
    _inputs: Mapping[str, Any] = field(repr=False)
    """Parts of the key of every stage of this plugin on this split."""
    _train_other: Callable[..., NDArray[np.float32]] = field(repr=False)
    final_ranking: FinalRanking | None = None
    """Ranking that a budget of seconds keeps time for; None: nothing is ranked after this training."""
    world: World = field(default_factory=World)
    stages: list[StagePart] = field(default_factory=list)
    """Stages the model asked for, in order."""
    listeners: tuple[Listener, ...] = ()
    _build: "_Build | None" = None
    """The stage whose `build` is running."""

    @property
    def train(self) -> Interactions:
        """The train part; its arrays cannot be written to. Without times where the card does not say that they are read.

        Sets come in several random orders where the card says that the model reads an order; who owns a row is then no row of `user_ids`.
        """
        train = self._split.train
        if self._task.knows_sets and self.plugin.card.reads_order:
            train = train.in_random_orders(ORDERS_OF_A_SET, lambda number: seeds.generator(self.seed, "order", number))
            train.item.setflags(write=False)
        if not self.plugin.card.reads_time:
            return Interactions(train.item, train.offsets, np.zeros_like(train.timestamp), train.n_items, TimeKind.NONE)
        return Interactions(train.item, train.offsets, train.timestamp, train.n_items, train.time, train.unix_time)

    @property
    def items(self) -> ItemTable:
        """A read-only copy of the item table; asking for texts or columns is an error where the card does not say that they are read."""
        table, card = self._split.items, self.plugin.card
        columns = DeclaredColumns(card.name, {name: sealed_copy(table.model_columns[name]) for name in card.needs_columns})
        if not card.reads_text:
            return ItemTable(sealed_copy(table.item_ids), UndeclaredTexts(card.name), columns)
        return ItemTable(sealed_copy(table.item_ids), {name: sealed_copy(column) for name, column in table.columns.items()}, columns)

    @property
    def feedback(self) -> Histories | None:
        """The feedback without what would tell the answers; None where the card does not say that it is read."""
        return self._split.feedback if self.plugin.card.reads_feedback else None

    @property
    def features(self) -> Mapping[str, Features]:
        """Vectors of the items, not to be written to; none where the card does not say that they are read."""
        return dict(self._split.features) if self.plugin.card.reads_features else {}

    @property
    def user_ids(self) -> StringArray:
        """A read-only copy of the source's user ids."""
        return sealed_copy(self._split.user_ids)

    @property
    def checkpoints(self) -> Path:
        """Folder for checkpoints, which survives a kill; made at the first use."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        return self._checkpoints

    def generator(self, *names: str | int) -> np.random.Generator:
        """A random stream of the run's seed."""
        return seeds.generator(self.seed, *names)

    def validate(self, ranker: Ranker, *, all_users: bool = False) -> Validation:
        """The task's validation metrics of the validation users; the work is shared under torchrun."""
        start = time.perf_counter()
        part = self._split.valid
        users = np.arange(len(part))
        most = self.plugin.card.validation_users
        is_subset = most is not None and not all_users and len(users) > most
        if is_subset:
            users = np.sort(np.random.default_rng(_SUBSET_SEED).choice(len(users), most, replace=False))
        # Each rank takes its own users, none twice: a mean over repeated users would not be the mean over users.
        mine = users[self.world.rank :: self.world.size]
        totals = validation_sums(GuardedRanker(self.plugin.card, ranker), self._task, self._split, mine, self.progress)
        if self.world.size > 1:
            from recbench.nn.compute.distributed import sum_over_ranks

            totals = sum_over_ranks(totals, self.world)
        seconds = time.perf_counter() - start
        if self.world.rank == 0:
            self._keep_back(seconds / max(len(mine), 1))
        metrics = {name: float(total / totals[-1]) for name, total in zip(self._task.validation_metrics, totals[:-1], strict=True)}
        return Validation(metrics, int(totals[-1]), is_subset, seconds)

    def note(self, point: CurvePoint, *, examples: int, validations: int) -> None:
        """Tell the listeners, once for all ranks; not of a stage's training, which other runs may share."""
        if self._build is None and self.world.rank == 0:
            for listener in self.listeners:
                listener.note(point, examples=examples, validations=validations)

    def rehearse(self, ranker: Ranker) -> None:
        """Time the final ranking on a few validation users and reserve the time that all test users will take."""
        if self.budget.unit != "seconds" or self.final_ranking is None:
            return
        part = self._split.valid
        queries = part.queries(self._split.user_ids, self.final_ranking.views)
        order = np.random.default_rng(_SUBSET_SEED).permutation(len(queries))
        guarded = GuardedRanker(self.plugin.card, ranker)
        guarded.generate(queries.take(order[:_WARM_UP_USERS]), self.final_ranking.k)
        for n_users in (_REHEARSED_USERS, _MORE_REHEARSED_USERS):
            sample = queries.take(np.sort(order[:n_users]))
            start = time.perf_counter()
            guarded.generate(sample, self.final_ranking.k)
            seconds = time.perf_counter() - start
            if seconds > _QUICK_REHEARSAL_S:
                break
        if self.world.rank == 0:
            self._keep_back(seconds / max(len(sample), 1))

    def stage(
        self,
        name: str,
        build: Callable[[Path], None],
        *,
        config: Mapping[str, Any],
        inputs: Sequence[str | Path] = (),
        trains: bool = False,
        trainings_left: int = 0,
    ) -> Path:
        """The folder of a sub-stage of this model."""
        parts = {**self._inputs, "config": dict(config), "inputs": _contents(inputs)}
        return self._stage(f"{self.plugin.card.name}.{name}", parts, build, self.seed, trains=trains, trainings_left=trainings_left)

    def common_stage(
        self,
        name: str,
        build: Callable[[Path], None],
        *,
        config: Mapping[str, Any],
        inputs: Sequence[str | Path] = (),
        trains: bool = False,
        trainings_left: int = 0,
        together: bool = False,
    ) -> Path:
        """The folder of a stage that any model may share."""
        parts = {
            "source": self._source_of(build),
            "config": dict(config),
            "inputs": _contents(inputs),
            "precision": self.precision,
            "device": self.device.partition(":")[0],
            "architecture": platform.machine(),
        }
        seed = int(config.get("seed", 0))
        return self._stage(name, parts, build, seed, trains=trains, trainings_left=trainings_left, together=together)

    def alone(self) -> "RunContext":
        """This process without its group; see `FitContext`."""
        return replace(self.together(), world=World(), _store=self._store.alone())

    def together(self) -> "RunContext":
        """This process with its group; see `FitContext`."""
        own = self._build or _Build(self._checkpoints, self.seed, self.budget)
        return replace(
            self,
            seed=own.seed,
            budget=own.budget,
            final_ranking=self.final_ranking if self._build is None else None,
            listeners=self.listeners if self._build is None else (),
            _checkpoints=own.checkpoints,
            _build=None,
        )

    def _stage(
        self,
        name: str,
        parts: Mapping[str, Any],
        build: Callable[[Path], None],
        seed: int,
        *,
        trains: bool,
        trainings_left: int,
        together: bool = False,
    ) -> Path:
        if re.fullmatch(_STAGE_NAME, name) is None:
            raise PluginFailed(
                f"Model {self.plugin.card.name!r} calls a stage {short_repr(name)}, which cannot be a folder's name. Use {_STAGE_RULE}."
            )
        if trains and self.budget.unit is not None:
            parts = {**parts, "budget": self.budget.auxiliary_text(trainings_left)}
        budget = self.budget.auxiliary(trainings_left) if trains else Budget()
        own = _Build(self._store.partial(name, self._store.key(name, parts)), seed, budget)

        def build_as_own(folder: Path) -> None:
            outer, shown = self._build, self.progress
            self._build = own
            # A training asks for its budget by itself, and ends in order.
            self.progress = shown if trains else BudgetedProgress(shown, self.budget)
            try:
                build(folder)
            finally:
                self._build, self.progress = outer, shown
            if trains:
                _Spent(steps=budget.ledger.steps, examples=budget.ledger.examples).write(folder / SPENT_FILE)

        stage = self._store.get(name, parts, build_as_own, together=together)
        part = stage.part()
        if trains:
            spent = _Spent.read(stage.folder / SPENT_FILE)
            part = part.model_copy(update={"steps": spent.steps})
            self.note_auxiliary((part,), steps=spent.steps, examples=spent.examples)
        else:
            if stage.earlier != NO_TIME and not self._is_noted(part):
                self.budget.charge_attempt(stage.earlier)
            self.note_stages(part)
        return stage.folder

    def note_auxiliary(self, parts: Sequence[StagePart], *, steps: int, examples: int) -> None:
        """Note the stages of an auxiliary training, and charge it to the budget unless it was noted before."""
        if not self._is_noted(parts[-1]):
            self.budget.charge_auxiliary(sum((part.elapsed for part in parts), NO_TIME), steps=steps, examples=examples)
        self.note_stages(*parts)

    def note_stages(self, *parts: StagePart) -> None:
        """Note stages that went into the model; one that was noted before is not charged again."""
        for part in parts:
            if self._is_noted(part):
                continue
            self.stages.append(part)
            if part.reused:
                self.budget.charge(part.elapsed)

    def _is_noted(self, part: StagePart) -> bool:
        return any(stage.key == part.key for stage in self.stages)

    def _source_of(self, build: Callable[[Path], None]) -> str:
        """sha256 of the sources behind `build`: its module's, or the whole plugin's where the module is a part of one."""
        module = inspect.getmodule(build.func if isinstance(build, partial) else build)
        file = Path(inspect.getfile(module)).resolve() if module is not None else None
        if file is None:
            raise PluginFailed(f"Model {self.plugin.card.name!r} builds a stage with {build!r}, which no module defines. Use a function.")
        if file.is_relative_to(self.plugin.folder):
            return plugin_source_hash(self.plugin.folder)
        return module_source_hash(file)

    def item_vectors(
        self,
        model: str,
        *,
        preset: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        seed: int | None = None,
        trainings_left: int = 0,
    ) -> NDArray[np.float32]:
        """Item vectors (n_items, d) of another plugin trained on this split."""
        if model not in self.plugin.card.uses:
            raise BadRequest(
                f"Model {self.plugin.card.name!r} asks for item vectors of {model!r}, which its card does not list under `uses`. "
                f"Add it there."
            )
        return self._train_other(model, preset, overrides or {}, self.seed if seed is None else seed, self, trainings_left)

    def _keep_back(self, seconds_per_user: float) -> None:
        """Reserve the time of ranking and evaluating the test users; a larger earlier reserve stays."""
        if self.final_ranking is not None:
            # The ranks share the ranking; the evaluation is rank 0's.
            n_users = len(self._split.test)
            needed_s = n_users / self.world.size * seconds_per_user + n_users * _EVALUATION_S_PER_USER + _FIXED_RESERVE_S
            self.budget.ledger.reserve_s = max(self.budget.ledger.reserve_s, needed_s)


def _contents(inputs: Sequence[str | Path]) -> list[str]:
    """Keys as they are, files and folders by what is in them."""
    return [(stage_content(item) or hash_path(item)) if isinstance(item, Path) else item for item in inputs]
