"""Run folders and published records, opened for reading.

A published record is a run folder without its weights and logs:

    BOARDS/records/RUN_ID/    record.json, ranks.parquet, exposure.parquet, curve.csv, tune.json where settings were searched,
                              latency.json where it was measured
    BOARDS/records/shared/    targets-HASH.parquet, items-HASH.parquet, each once however many records name it
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import recbench.evaluation as evaluation
from recbench.core.digests import file_sha256
from recbench.core.errors import BadData
from recbench.core.latency import LATENCY_FILE, Latency, read_latency
from recbench.core.ranking import View
from recbench.core.records import EXPOSURE_FILE, RANKS_FILE, RECORD_FILE, RECORDS_FOLDER, RunRecord, read_summed_record
from recbench.reporting.run_files import ITEMS, OWN_FILES, SHARED, SHARED_FILES, TARGETS, Damage, RunFiles
from recbench.tasks import find_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recbench.core.ragged import LongArray
    from recbench.evaluation import Exposure, RankTable, TargetFacts


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A record and the folder that holds it; its files are read on first use.

    Attributes:
        record: the content of `record.json`.
        folder: a run folder or one below BOARDS/records.
        sha256: hash of the bytes of `record.json`.
        latency_file: the times that count, where they lie in another folder of the run; None: those in this one.
    """

    record: RunRecord
    folder: Path
    sha256: str
    latency_file: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> "StoredRun":
        """The run in `folder`; a missing or damaged record is a `BadData`."""
        record, sha256 = read_summed_record(folder / RECORD_FILE)
        return cls(record, folder, sha256)

    def with_record(self, record: RunRecord) -> "StoredRun":
        """The same files under another record, as if that one were written."""
        return replace(self, record=record, sha256=hashlib.sha256(record.to_json().encode()).hexdigest())

    def with_times_of(self, other: "StoredRun") -> "StoredRun":
        """The same run with the times that lie in another folder of it, unless its own were measured later."""
        if other.latency is None or (self.latency is not None and other.latency.measured < self.latency.measured):
            return self
        return replace(self, latency_file=other.folder / LATENCY_FILE)

    @cached_property
    def latency(self) -> Latency | None:
        """What a call takes; None where nobody measured it."""
        return read_latency(self.latency_file or self.folder / LATENCY_FILE, self.record.run_id)

    def path(self, prefix: str) -> Path:
        """The file whose name starts with `prefix`, which is what the record says; else a `BadData`."""
        part = self.record.file(prefix)
        path = self.place(part.name)
        if file_sha256(path) != part.sha256:
            raise BadData(f"{path}: its sha256 is not {part.sha256[:16]}, as the record says: it is damaged. Restore it.")
        return path

    def place(self, name: str) -> Path:
        """Path of a file of the record: in the folder, or among those that runs share beside it; its content is not looked at."""
        return self.files.place(name)

    @cached_property
    def files(self) -> RunFiles:
        """The record's files that go into BOARDS/records."""
        sums = {part.name: part.sha256 for part in self.record.files if part.name in OWN_FILES or part.name.startswith(SHARED_FILES)}
        return RunFiles(run_id=self.record.run_id, folder=self.folder, task=self.record.task, sums=sums)

    @cached_property
    def ranks(self) -> "RankTable":
        """Ranks of the test targets."""
        return evaluation.read_ranks(self.path(RANKS_FILE))

    @cached_property
    def facts(self) -> "TargetFacts":
        """Facts known of the test targets."""
        return evaluation.read_targets(self.path(TARGETS))

    @cached_property
    def exposure(self) -> "Exposure":
        """How often each item was shown."""
        return evaluation.read_exposure(self.path(EXPOSURE_FILE))

    @cached_property
    def train_count(self) -> "LongArray":
        """How often each item occurs in the train part."""
        return evaluation.read_items(self.path(ITEMS))

    def per_user(self, metric: str, view: View) -> "NDArray[np.float64]":
        """One value of `metric` per test user, (n_users,)."""
        return evaluation.per_user(self.ranks, self.facts, metric, view)

    @property
    def has_clusters(self) -> bool:
        """Whether some test users are not independent of each other."""
        measures = find_task(self.record.task).measures
        return measures.cluster is not None and measures.cluster in self.facts.of_task

    @cached_property
    def cluster(self) -> "LongArray | None":
        """A number per test user, equal for those who are not independent of each other, (n_users,); None where all are."""
        return find_task(self.record.task).measures.cluster_of_users(self.facts, self.ranks) if self.has_clusters else None


@dataclass(frozen=True)
class Fault:
    """Something that does not follow from the records.

    Attributes:
        file: page, record or table at fault.
        line: of a page, from 1; None elsewhere.
        message: what is wrong and what to do.
    """

    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        place = f"{self.file}" if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.message.removeprefix(f'{self.file}').removeprefix(': ')}"


def as_faults(damaged: Iterable[Damage]) -> list[Fault]:
    """A fault for each file of a run that is not what its record says."""
    return [Fault(found.path, None, found.message) for found in damaged]


def unreadable_latencies(runs: Iterable[StoredRun]) -> list[Fault]:
    """A fault for each run whose times cannot be read."""
    faults = []
    for run in runs:
        try:
            _ = run.latency
        except BadData as error:
            faults.append(Fault(run.latency_file or run.folder / LATENCY_FILE, None, str(error)))
    return faults


def record_folders(boards: Path) -> list[Path]:
    """Folders of all published records, by name."""
    root = boards / RECORDS_FOLDER
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and folder.name != SHARED) if root.is_dir() else []


def files_to_store(run: StoredRun, boards: Path) -> dict[str, Path]:
    """A run's record and small files that are not below BOARDS yet: by their path there, the file to copy."""
    files = {}
    for name in [*run.files.sums, RECORD_FILE]:
        folder = SHARED if name.startswith(SHARED_FILES) else run.record.run_id
        target = f"{RECORDS_FOLDER}/{folder}/{name}"
        if not (boards / target).exists():
            files[target] = run.folder / name if name == RECORD_FILE else run.place(name)
    if run.latency is not None:
        target = f"{RECORDS_FOLDER}/{run.record.run_id}/{LATENCY_FILE}"
        measured = run.latency_file or run.folder / LATENCY_FILE
        if not (boards / target).is_file() or (boards / target).read_bytes() != measured.read_bytes():
            files[target] = measured
    return files
