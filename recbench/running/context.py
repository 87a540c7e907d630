"""What a model's `fit` is handed."""

import inspect
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core import seeds
from recbench.core.budget import Budget
from recbench.core.errors import BadRequest, PluginFailed
from recbench.core.interactions import Interactions, ItemTable, StringArray
from recbench.core.plugin import Plugin, Precision, Ranker, Validation, World
from recbench.core.progress import Progress
from recbench.core.ranking import Queries, Rankings
from recbench.core.records import StagePart
from recbench.data import Split
from recbench.evaluation import check_rankings, ranks_of_targets, values_per_user
from recbench.running.cache import StageStore, stage_content
from recbench.running.hashing import hash_path, module_source_hash, plugin_source_hash

VALIDATION_K = 10
VALIDATION_METRICS = ("ndcg@10", "recall@10")
_SUBSET_USERS = 2_000
_SUBSET_SEED = 0
_QUERIES_PER_CALL = 4_096
_EVALUATION_S_PER_USER = 1e-4
_FIXED_RESERVE_S = 1.5


def ranked(ranker: Ranker, queries: Queries, k: int, n_items: int, progress: Progress, title: str) -> Iterator[tuple[int, Rankings]]:
    """Checked answers to all queries, in calls of bounded size: (number of the first query, rankings)."""
    with progress.task(title, len(queries)) as task:
        for start in range(0, len(queries), _QUERIES_PER_CALL):
            part = queries.take(np.arange(start, min(start + _QUERIES_PER_CALL, len(queries))))
            rankings = ranker.generate(part, k)
            check_rankings(rankings, part, n_items=n_items, k=k, first_query=start)
            task.advance(len(part))
            yield start, rankings


def validation_sums(ranker: Ranker, split: Split, rows: NDArray[np.int64], progress: Progress) -> NDArray[np.float64]:
    """Sums of `VALIDATION_METRICS` over these queries of the validation part, in the view `keep`, and behind them the number of queries."""
    part = split.valid
    queries = part.queries(split.user_ids, ("keep",))
    sums = np.zeros(len(VALIDATION_METRICS) + 1)
    for first, rankings in ranked(ranker, queries.take(rows), VALIDATION_K, len(split.items), progress, "validation"):
        mine = rows[first : first + rankings.items.shape[1]]
        targets = part.targets.take(mine)
        rank = ranks_of_targets(rankings, targets, queries.take(mine))["keep"]
        sums[:-1] += values_per_user(rank, targets.offsets, VALIDATION_METRICS).sum(axis=0)
        sums[-1] += len(mine)
    return sums


@dataclass(frozen=True)
class _Build:
    """What `RunContext.alone` takes from the stage that is being built."""

    checkpoints: Path
    seed: int
    budget: Budget


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
    _split: Split = field(repr=False)
    _store: StageStore = field(repr=False)
    _inputs: Mapping[str, Any] = field(repr=False)
    """What every stage of this plugin on this split depends on."""
    _train_other: Callable[..., NDArray[np.float32]] = field(repr=False)
    world: World = field(default_factory=World)
    stages: list[StagePart] = field(default_factory=list)
    """Stages the model asked for, in order."""
    _build: "_Build | None" = None
    """The stage whose `build` is running."""

    @property
    def train(self) -> Interactions:
        """The train part."""
        return self._split.train

    @property
    def items(self) -> ItemTable:
        """The item table."""
        return self._split.items

    @property
    def user_ids(self) -> StringArray:
        """The source's user ids."""
        return self._split.user_ids

    @property
    def checkpoints(self) -> Path:
        """A folder that survives a kill; made at the first use."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        return self._checkpoints

    def generator(self, *names: str | int) -> np.random.Generator:
        """A random stream of the run's seed."""
        return seeds.generator(self.seed, *names)

    def validate(self, ranker: Ranker, *, all_users: bool = False) -> Validation:
        """NDCG@10 and Recall@10 of the validation users, view `keep`; the work is shared under torchrun."""
        start = time.perf_counter()
        part = self._split.valid
        users = np.arange(len(part))
        is_subset = self.plugin.card.family == "generative" and not all_users and len(users) > _SUBSET_USERS
        if is_subset:
            users = np.sort(np.random.default_rng(_SUBSET_SEED).choice(len(users), _SUBSET_USERS, replace=False))
        # Each rank takes its own users, none twice: a mean over repeated users would not be the mean over users.
        mine = users[self.world.rank :: self.world.size]
        totals = validation_sums(ranker, self._split, mine, self.progress)
        if self.world.size > 1:
            from recbench.nn.distributed import sum_over_ranks

            totals = sum_over_ranks(totals, self.world)
        seconds = time.perf_counter() - start
        if self.world.rank == 0:
            self._reserve(seconds, len(mine))
        metrics = {name: float(total / totals[-1]) for name, total in zip(VALIDATION_METRICS, totals[:-1], strict=True)}
        return Validation(metrics, int(totals[-1]), is_subset, seconds)

    def stage(self, name: str, build: Callable[[Path], None], *, config: Mapping[str, Any], inputs: Sequence[str | Path] = ()) -> Path:
        """The folder of a sub-stage of this model."""
        parts = {**self._inputs, "config": dict(config), "inputs": _contents(inputs)}
        return self._stage(f"{self.plugin.card.name}.{name}", parts, build, self.seed, self.budget)

    def common_stage(
        self, name: str, build: Callable[[Path], None], *, config: Mapping[str, Any], inputs: Sequence[str | Path] = ()
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
        return self._stage(name, parts, build, int(config.get("seed", 0)), Budget())

    def alone(self) -> "RunContext":
        """This process without its group; see `FitContext`."""
        own = self._build or _Build(self._checkpoints, self.seed, self.budget)
        return replace(
            self, world=World(), seed=own.seed, budget=own.budget, _checkpoints=own.checkpoints, _store=self._store.alone(), _build=None
        )

    def _stage(self, name: str, parts: Mapping[str, Any], build: Callable[[Path], None], seed: int, budget: Budget) -> Path:
        own = _Build(self._store.partial(name, self._store.key(name, parts)), seed, budget)

        def build_as_own(folder: Path) -> None:
            outer, self._build = self._build, own
            try:
                build(folder)
            finally:
                self._build = outer

        stage = self._store.get(name, parts, build_as_own)
        self.note_stages(stage.part())
        return stage.folder

    def note_stages(self, *parts: StagePart) -> None:
        """These went into the model; one that was asked for before is not paid for again."""
        known = {stage.key for stage in self.stages}
        self.stages.extend(part for part in parts if part.key not in known)

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
        self, model: str, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> NDArray[np.float32]:
        """Item vectors (n_items, d) of another plugin trained on this split."""
        if model not in self.plugin.card.uses:
            raise BadRequest(
                f"Model {self.plugin.card.name!r} asks for item vectors of {model!r}, which its card does not list under `uses`. "
                f"Add it there."
            )
        vectors = self._train_other(model, preset, overrides or {}, self.seed if seed is None else seed, self)
        if vectors.shape[0] != len(self.items) or vectors.ndim != 2:
            raise PluginFailed(f"Model {model!r} gave item vectors of shape {vectors.shape}; ({len(self.items)}, d) is needed.")
        return np.asarray(vectors, dtype=np.float32)

    def _reserve(self, seconds: float, n_users: int) -> None:
        """Keep back what ranking the test users in both views and evaluating them will take."""
        per_user = seconds / max(n_users, 1)
        n_test = len(self._split.test)
        views_factor = 1.5  # both views share one pass; lists are longer than in validation
        self.budget.reserve_s = n_test * (per_user * views_factor + _EVALUATION_S_PER_USER) + _FIXED_RESERVE_S


def _contents(inputs: Sequence[str | Path]) -> list[str]:
    """Keys as they are, files and folders by what is in them."""
    return [(stage_content(item) or hash_path(item)) if isinstance(item, Path) else item for item in inputs]
