"""Examples small enough to work out by hand: a training context and queries from plain lists."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core import (
    VIEWS,
    BadRequest,
    Budget,
    CurvePoint,
    Features,
    Histories,
    Interactions,
    ItemTable,
    Progress,
    Queries,
    Ranker,
    SilentProgress,
    TimeKind,
    Validation,
    View,
    World,
    seeds,
)
from recbench.core.interactions import StringArray
from recbench.core.plugin import Precision


def interactions(lists: Sequence[Sequence[int]], n_items: int, times: Sequence[Sequence[int]] | None = None) -> Interactions:
    """One list of item rows per user, in time order; `times` in seconds, of the same shape."""
    packed = Histories.from_lists(lists)
    if times is None:
        return Interactions(packed.item, packed.offsets, np.zeros(len(packed.item), np.int64), n_items, TimeKind.NONE)
    timestamp = np.array([time for row in times for time in row], np.int64)
    return Interactions(packed.item, packed.offsets, timestamp, n_items, TimeKind.SECONDS)


def queries(histories: Sequence[Sequence[int]], *, known: bool = True, views: tuple[View, ...] = VIEWS) -> Queries:
    """One query per history; users are 0, 1, ... or, where `known` is false, strangers."""
    n = len(histories)
    user = np.arange(n, dtype=np.int32) if known else np.full(n, -1, np.int32)
    ids = np.array([f"u{row}" if known else "" for row in range(n)], object)
    return Queries(Histories.from_lists(histories), user, ids, views)


def latest_is_best() -> Callable[[Ranker], float]:
    """A judge that finds every ranker better than the one before, so that a training keeps its last weights."""
    verdicts = itertools.count()
    return lambda _: float(next(verdicts))


@dataclass
class LightContext:
    """A `FitContext` without a harness: one process, no cache, validation by a function of the test.

    Attributes:
        train: the train part.
        folder: where checkpoints and stages go.
        texts: columns of the item table.
        columns: its model columns.
        features: vectors of the items.
        feedback: of users on items, beside the sets of the train part.
        judge: what `validate` reports as NDCG@10; without it validation is refused.
    """

    train: Interactions
    folder: Path
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    columns: Mapping[str, Sequence[str | None]] = field(default_factory=dict, kw_only=True)
    features: Mapping[str, Features] = field(default_factory=dict, kw_only=True)
    feedback: Histories | None = field(default=None, kw_only=True)
    judge: Callable[[Ranker], float] | None = None
    seed: int = 0
    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int = 1
    world: World = field(default_factory=World)
    progress: Progress = field(default_factory=SilentProgress)
    budget: Budget = field(default_factory=Budget)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    _building: str = ""
    """The stage whose `build` is running."""

    @property
    def checkpoints(self) -> Path:
        """A folder below `folder`."""
        path = self.folder / "checkpoints" / self._building
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def items(self) -> ItemTable:
        """Items i0000, i0001, ... with `texts` and `columns`."""
        ids = np.array([f"i{row:04d}" for row in range(self.train.n_items)], object)
        texts, columns = ({name: np.array(values, object) for name, values in part.items()} for part in (self.texts, self.columns))
        return ItemTable(ids, texts, columns)

    @property
    def user_ids(self) -> StringArray:
        """Users u0000, u0001, ..."""
        return np.array([f"u{row:04d}" for row in range(self.train.n_users)], object)

    def generator(self, *names: str | int) -> np.random.Generator:
        """A random stream of the seed."""
        return seeds.generator(self.seed, *names)

    def validate(self, ranker: Ranker, *, all_users: bool = False) -> Validation:
        """Verdict that `judge` gives."""
        if self.judge is None:
            raise BadRequest("This context has no judge, and validate was called. Give it one.")
        return Validation({"ndcg@10": self.judge(ranker)}, len(self.train), not all_users, 0.0)

    def note(self, point: CurvePoint, *, examples: int, validations: int) -> None:
        """Nothing: nobody listens."""

    def rehearse(self, ranker: Ranker) -> None:
        """Nothing: no ranking follows."""

    def stage(self, name: str, build: Callable[[Path], None], **_: Any) -> Path:
        """A folder built anew at every call."""
        path = self.folder / "stages" / f"{name}-{len(list(self.folder.glob('stages/*')))}"
        path.mkdir(parents=True)
        outer, self._building = self._building, path.name
        try:
            build(path)
        finally:
            self._building = outer
        return path

    def common_stage(self, name: str, build: Callable[[Path], None], **_: Any) -> Path:
        """The same: a folder built anew at every call."""
        return self.stage(name, build)

    def alone(self) -> "LightContext":
        """This context in a world of one, with checkpoints of the stage that is being built."""
        return replace(self, world=World())

    def together(self) -> "LightContext":
        """The same as `alone`: without a cache that processes share, each computes all of it."""
        return self.alone()

    def item_vectors(self, model: str, **_: Any) -> NDArray[np.float32]:
        """Refused: there are no other models here."""
        raise BadRequest(f"Item vectors of {model!r} were asked for, and this context trains no other model. Use recbench.testing.train.")
