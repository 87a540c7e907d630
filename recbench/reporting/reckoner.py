"""Figures from the files of records: each file is read once, and its sum is that of the bytes that the figures come from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from recbench.core.digests import sha256_of
from recbench.core.errors import BadData, RecbenchError
from recbench.core.ranking import View
from recbench.core.records import EXPOSURE_FILE, RANKS_FILE, RECORD_FILE, Interval, SlicePart, TargetsPart
from recbench.evaluation import (
    Evaluator,
    TargetFacts,
    Tested,
    drawn_means,
    exact_mean,
    paired_tests,
    per_user,
    read_exposure,
    read_items,
    read_ranks,
    read_targets,
    targets_part,
    two_level_bootstrap,
)
from recbench.reporting.run_files import ITEMS, SHARED_FILES, TARGETS, Damage, RunFiles
from recbench.tasks import find_task

FloatArray = NDArray[np.float64]

Content = TypeVar("Content")


class Measured(BaseModel):
    """All that follows from the files of a run.

    Attributes:
        damaged: files that are missing or are not what the record says; nothing was computed then.
        refused: why nothing could be computed from sound files; empty where all was.
        metrics, slices, beyond: as a record keeps them.
        targets: sizes and shares of the test part; users who only train are none of them.
        n_items: of the catalogue.
        list_length, views: of the lists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    damaged: tuple[Damage, ...] = ()
    refused: str = ""
    metrics: dict[View, dict[str, Interval]] = {}
    slices: list[SlicePart] = []
    beyond: dict[View, dict[str, float]] = {}
    targets: TargetsPart | None = None
    n_items: int = 0
    list_length: int = 0
    views: tuple[View, ...] = ()


class Drawn(BaseModel):
    """Means over the users of one split, of several rows.

    Attributes:
        mean: of each row, over users and seeds.
        drawn: the same in each drawing of the users, which all rows share: a list per drawing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: list[float]
    drawn: list[list[float]]


class Reckoner:
    """Computes figures of runs. What runs on one split share is kept until a run on another split comes."""

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}
        self._kept: dict[str, tuple[tuple[str, ...], Any]] = {}

    def measure(self, files: RunFiles) -> Measured:
        """All figures of a run, after a look at all of its files."""
        own: dict[str, bytes] = {}
        damaged = self.damage(files, own)
        if damaged:
            return Measured(damaged=tuple(damaged))
        try:
            evaluator, train_count = self._evaluator(files)
            ranks = read_ranks(files.place(RANKS_FILE), own[RANKS_FILE])
            exposure = read_exposure(files.place(EXPOSURE_FILE), own[EXPOSURE_FILE])
            found = evaluator.evaluate(ranks, exposure)
        except RecbenchError as error:
            return Measured(refused=str(error))
        return Measured(
            metrics=found.metrics,
            slices=found.slices,
            beyond=found.beyond,
            targets=targets_part(evaluator.facts, 0),
            n_items=len(train_count),
            list_length=ranks.list_length,
            views=ranks.views,
        )

    def mean(self, runs: Sequence[RunFiles], metric: str, view: View) -> float:
        """Mean of a metric over users and seeds, by which rows are put in order; a `BadData` where a file is damaged or missing."""
        return exact_mean(self._values(runs, metric, view))

    def test(self, best: Sequence[RunFiles], other: Sequence[RunFiles], metric: str, view: View) -> Tested:
        """The runs of one row against those of another."""
        key = (metric, view, *(str(files.folder) for files in best))
        values = self._keep("best", key, lambda: self._values(best, metric, view))
        return paired_tests(values, self._values(other, metric, view), cluster=self._cluster(best[0]))

    def spread(self, runs: Sequence[RunFiles], metric: str, view: View) -> Interval:
        """Mean of a metric over users and seeds with its interval over both."""
        values_SU = self._values(runs, metric, view)
        return two_level_bootstrap(values_SU, np.zeros(values_SU.shape[1]), cluster=self._cluster(runs[0]))

    def draw(self, rows: Sequence[Sequence[RunFiles]], metric: str, view: View) -> Drawn:
        """Means of rows of one split in drawings of its users, see `drawn_means`; a `BadData` where a file is damaged or missing."""
        values_UM = np.stack([self._values(runs, metric, view).mean(axis=0) for runs in rows], axis=1)
        means = [exact_mean(values_UM[:, place]) for place in range(len(rows))]
        return Drawn(mean=means, drawn=drawn_means(values_UM, rows[0][0].split).tolist())

    def damage(self, files: RunFiles, read: dict[str, bytes] | None = None) -> list[Damage]:
        """Files that are missing, are not what the record says or are not named in it; the content of those of the run joins `read`."""
        damaged = []
        for prefix in (RANKS_FILE, EXPOSURE_FILE, *SHARED_FILES):
            try:
                files.name(prefix)
            except BadData as error:
                damaged.append(Damage(path=files.folder / RECORD_FILE, message=str(error)))
        for name, sha256 in files.sums.items():
            damaged += self._damage(files, name, sha256, {} if read is None else read)
        return damaged

    def _damage(self, files: RunFiles, name: str, sha256: str, read: dict[str, bytes]) -> list[Damage]:
        """What is wrong with a file; its content joins `read` where runs do not share it."""
        try:
            path = files.place(name)
        except BadData as error:
            return [Damage(path=files.folder / name, message=str(error))]
        is_shared = name.startswith(SHARED_FILES)
        if is_shared:
            found = self._digest(path)
        else:
            read[name] = path.read_bytes()
            found = sha256_of(read[name])
        damaged = []
        if found != sha256:
            said = f"the record {files.run_id} says {sha256[:16]}"
            damaged.append(Damage(path=path, message=f"its sha256 is {found[:16]}, {said}. Restore the file."))
        if is_shared and not found.startswith(content_hash(name)):
            damaged.append(Damage(path=path, message=f"its sha256 is {found[:16]}, its name says {content_hash(name)}. Restore the file."))
        return damaged

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = sha256_of(path.read_bytes())
        return self._digests[path]

    def _keep(self, what: str, key: tuple[str, ...], make: Callable[[], Content]) -> Content:
        """What was made last under this key, or made now."""
        if what not in self._kept or self._kept[what][0] != key:
            self._kept.pop(what, None)  # before the next is made: two need not fit into the memory
            self._kept[what] = key, make()
        kept: Content = self._kept[what][1]
        return kept

    def _evaluator(self, files: RunFiles) -> tuple[Evaluator, Any]:
        """The evaluator of the run's split, and its train counts."""
        key = (*self._key(files, TARGETS), *self._key(files, ITEMS), files.task)

        def make() -> tuple[Evaluator, Any]:
            train_count = self._content(files, ITEMS, read_items)
            return Evaluator(self._facts(files), train_count, find_task(files.task).measures), train_count

        return self._keep("evaluator", key, make)

    def _facts(self, files: RunFiles) -> TargetFacts:
        return self._keep("facts", self._key(files, TARGETS), lambda: self._content(files, TARGETS, read_targets))

    def _cluster(self, files: RunFiles) -> NDArray[np.int64] | None:
        """A number per test user, equal for those who are not independent of each other."""

        def make() -> NDArray[np.int64] | None:
            ranks = self._content(files, RANKS_FILE, read_ranks)
            return find_task(files.task).measures.cluster_of_users(self._facts(files), ranks)

        return self._keep("cluster", (*self._key(files, TARGETS), files.task), make)

    def _key(self, files: RunFiles, prefix: str) -> tuple[str, str]:
        """What is known of a shared file: where it lies, and the sum that the record says."""
        name = files.name(prefix)
        return str(files.place(name)), files.sums[name]

    def _values(self, runs: Sequence[RunFiles], metric: str, view: View) -> FloatArray:
        """One value per seed and test user, (S, n_users)."""
        return np.stack([per_user(self._content(run, RANKS_FILE, read_ranks), self._facts(run), metric, view) for run in runs])

    def _content(self, files: RunFiles, prefix: str, read: Callable[[Path, bytes], Content]) -> Content:
        """The table in a file, which is what the record says; else a `BadData`."""
        name = files.name(prefix)
        path = files.place(name)
        data = path.read_bytes()
        if sha256_of(data) != files.sums[name]:
            raise BadData(f"{path}: its sha256 is not {files.sums[name][:16]}, as the record says: it is damaged. Restore it.")
        return read(path, data)


def content_hash(name: str) -> str:
    """The hash in the name of a shared file such as `targets-HASH.parquet`."""
    return name.partition("-")[2].partition(".")[0]
