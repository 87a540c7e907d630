"""The run record: what a run did, what came out, what it cost. Written once, never edited.

A run folder holds

    record.json       this record
    ranks.parquet     user (int32), target (int32), rank_keep (int16), rank_unseen (int16); one row per (user, target);
                      0 is best, -1 is not in the list
    exposure.parquet  item (int32), keep (int32), unseen (int32): how often an item stands in a top 10
    model/, catalogue.parquet, curve.csv, config.toml
    tune.json         where the settings come from a search: all its trials (`recbench.core.tuning`)
    references.json   the run beside the cheap references of its split, a list of `ReferencePart`; not published
    latency.json      what a call takes, where it was measured afterwards (`recbench.core.latency`)
    pulled.json       where somebody else trained the model: where it came from (`recbench.core.shared_model`)
    log.txt           like latency.json without a sum in the record

and two files that all runs on one split share, stored under the hash of their content:

    targets-HASH.parquet   user, target, target_count (train occurrences), history_length, is_tied (nullable), in_history,
                           follows_last (the last item of the history precedes the target somewhere in the train part),
                           history_popularity (mean train count of the history's items)
    items-HASH.parquet     item, train_count
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from recbench.about import DISTRIBUTION
from recbench.core.config import hash_value, moved_settings, with_added
from recbench.core.elapsed import Elapsed
from recbench.core.errors import BadData, refuse_shortage
from recbench.core.file_names import is_plain_path
from recbench.core.ranking import View
from recbench.core.tabular import Tabular
from recbench.core.tuning import RANDOM

SCHEMA_VERSION = 9
"""2 added `tuned`, `foreign` and `remeasured`; 3 added `StagePart.steps` and `stopped_by`, `FitPart.validations`, the peak of device
memory, the sums of the model's files and the record's own sum; 4 added `task` and `ModelPart.columns`, and nested `config`, see
`RunRecord.with_present_config`; 5 added `Fingerprints.feedback`, `Fingerprints.features` and `notes`; 6 added
`StagePart.cpu_seconds`, `CostPart.cpu_s` and `CostPart.train_cpu_s`; 7 added `TunePart.budget`; 8 added
`TunePart.sampler` and `TunePart.pruned`; 9 added `CostPart.train_energy_kwh` and `CostPart.train_flops`."""
_READ_VERSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
_FIRST_SEALED = 3
LAST_FLAT = 3
"""Last schema in which all settings stand on one level, by names that the card's `[moved]` leads to those of today."""
_SEAL = "sha256"
"""Key of `record.json` under which the sum of all other keys stands; the `RunRecord` in memory has no such field."""
RECORD_FILE = "record.json"
"""Name of the record in the folder of its run."""
FAILURE_FILE = "failure.json"
"""Name of the reason in the folder of a failed run, which has no record."""
PULLED_FILE = "pulled.json"
"""Name of the note in the folder of a run whose model somebody else trained."""
RANKS_FILE, EXPOSURE_FILE, CURVE_FILE = "ranks.parquet", "exposure.parquet", "curve.csv"
"""Names of a record's tables: ranks of the targets, how often each item was shown, the training curve."""
RECORDS_FOLDER = "records"
"""Folder of the leaderboards in which published records lie."""
MOST_COUNT = 2**63 - 1
"""Largest whole number that a record holds."""


class _Part(BaseModel):
    # A figure that is none has no place in JSON: such a record could be written and never be read.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class ModelPart(_Part):
    name: str
    preset: str
    row_name: str
    family: Literal["generative", "scoring", "unknown"]
    """`unknown` where the lists were made elsewhere."""
    is_trivial: bool
    reads_text: bool
    backbone: str | None = None
    """Text encoder or language model; a folder's name is followed by the start of its content's hash."""
    text: tuple[str, ...] | None = None
    """Columns of item text that were read and hold any value; None where the settings do not say, or no text is read."""
    columns: dict[str, str] = {}
    """Columns of the item table beyond its texts that were read, each with its digest."""
    distribution: str = "recbench"
    """Which installed distribution, or which path, the plugin came from; `recbench` was this one's name before version 1."""
    source_hash: str

    @property
    def origin(self) -> str:
        """Where the plugin came from: `recbench` where it came along, else its distribution or path."""
        return "recbench" if self.distribution == DISTRIBUTION else self.distribution


class DatasetPart(_Part):
    name: str
    title: str
    is_synthetic: bool
    time: Literal["seconds", "position", "none"]
    n_users: int
    n_items: int
    n_interactions: int


class ProtocolPart(_Part):
    split: str
    """Name of a rule of the task, such as `leave-one-out`."""
    split_options: dict[str, Any] = {}
    ties: str = "source"
    """`source` or `shuffle=SEED`."""
    list_length: int
    views: tuple[View, ...]


class Fingerprints(_Part):
    train: str
    valid: str
    test: str
    item_text: str
    feedback: str | None = None
    """Of the feedback that models may see; None where there is none."""
    features: dict[str, str] = {}
    """Of the item vectors that the data bring along, by name."""


class CodePart(_Part):
    version: str
    commit: str | None
    is_dirty: bool | None

    def __str__(self) -> str:
        """Version, commit where it is known, and whether the working tree held uncommitted changes."""
        commit = f" ({self.commit[:8]})" if self.commit else ""
        return f"{self.version}{commit}" + (", uncommitted changes" if self.is_dirty else "")


class DevicePart(_Part):
    type: str
    name: str
    threads: int
    precision: Literal["fp32", "bf16"]
    world_size: int = 1
    jobs: int = 1
    """How many runs shared the machine; cost figures count only where this is 1."""


class StagePart(_Part):
    name: str
    key: str
    seconds: Annotated[float, Field(ge=0)]
    """Seconds that the stage cost when it was computed, whether or not it was now."""
    cpu_seconds: Annotated[float, Field(ge=0)] | None = None
    """The same in processor time of all threads and child processes; None in records before schema 6, and for a stage of before."""
    peak_memory_bytes: Annotated[int, Field(ge=0)]
    """Most resident memory of the process, on the host."""
    reused: bool
    steps: int | None = None
    """Optimiser steps of a training; None where nothing was trained, and in records before schema 3."""
    stopped_by: str | None = None
    """Reason why the training of a model ended: `done`, `patience` or `budget`."""
    peak_device_memory_bytes: int | None = None
    """Most memory allocated on the CUDA device (of rank 0); None on a CPU and where nobody measured it."""

    @property
    def elapsed(self) -> Elapsed:
        """What it cost; where nobody counted processor time, that is taken to be as long as it took."""
        return Elapsed(self.seconds, self.seconds if self.cpu_seconds is None else self.cpu_seconds)


class FitPart(_Part):
    steps: int
    epochs: float
    examples_seen: int
    examples_possible: int
    parameters: int
    parameters_trainable: int
    parameters_embedding: int
    chosen: dict[str, float | int | str]
    stopped_by: str
    resumed_at: int | None = None
    validations: int | None = None
    """How often training looked at the validation users; None in records before schema 3."""

    @property
    def passes(self) -> float | None:
        """How often each example was seen, on average; None for a model that trains no weights."""
        if self.parameters_trainable == 0 or self.examples_possible == 0:
            return None
        return self.examples_seen / self.examples_possible

    @property
    def undertrained(self) -> str:
        """Why the figures are those of a model that hardly trained, such as `undertrained: 0.3 passes`; empty for any other."""
        passes = self.passes
        if passes is None:
            return ""
        if passes < 1:
            # Cut off near 1, so that a training which fell short of a pass is never said to have made it.
            shown = f"{passes:.2g}" if passes < 0.05 else f"{passes:.1f}" if passes < 0.95 else f"{int(passes * 1000) / 1000:.3f}"
            return f"undertrained: {shown} passes"
        if self.stopped_by == "budget" and self.validations == 0:
            return "undertrained: the budget ended before the first validation"
        return ""


class Interval(_Part):
    """A mean over users with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class SlicePart(_Part):
    """One group of users, in one view."""

    slice: str
    """Such as `target popularity`."""
    group: str
    """Such as `tail`."""
    view: View
    n: int
    metrics: dict[str, Interval]


ON_REQUEST = ("train_energy_kwh", "train_flops")
"""Figures of the cost that stand in a record only where they were asked for."""


class CostPart(_Part):
    train_s: float
    rank_s: float
    total_s: float
    """All stages, those reused from the cache included at what they cost when computed."""
    cpu_s: float | None = None
    """The same in processor time; None where it was not counted for every stage."""
    train_cpu_s: float | None = None
    """Of it, training and all that it asked for."""
    users_per_s: float
    peak_memory_bytes: int
    """Most resident memory of the process, on the host."""
    peak_device_memory_bytes: int | None = None
    """Most memory allocated on the CUDA device (of rank 0); None on a CPU and where nobody measured it."""
    train_energy_kwh: Annotated[float, Field(ge=0)] | None = None
    """Energy of the training and all that it asked for, as codecarbon reads or estimates it; absent where nobody asked."""
    train_flops: Annotated[float, Field(ge=0)] | None = None
    """Floating-point operations of the same in torch's products, convolutions and attention; absent where nobody asked."""

    @model_serializer(mode="wrap")
    def _without_the_unasked(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = whole(self)
        return {name: value for name, value in values.items() if value is not None or name not in ON_REQUEST}


class TargetsPart(_Part):
    n_users: int
    n_targets: int
    n_users_train_only: int
    share_in_history: float
    share_tied: float | None
    n_cold: int


def _inside(name: str) -> str:
    """The name, if it stays below its folder: a record may come from anybody, and its files are opened by these names."""
    if not is_plain_path(name):
        raise ValueError(f"{name!r} is no name of a file below the run's folder")
    return name


class FilePart(_Part):
    name: Annotated[str, AfterValidator(_inside)]
    """Relative to the run's folder, with `/` between folders."""
    sha256: str


class TunePart(_Part):
    """The search that a run's settings come from; all its trials stand in `tune.json`."""

    trials: int
    """How many settings were tried, the failed and the pruned ones counted."""
    trial: int
    """Number of the one that was taken; 0 is the preset itself."""
    score: float
    """Its figure on the validation part, of the metric that the task chooses by."""
    dataset: str
    """Data set of the search."""
    valid: str
    """Fingerprint of the validation part that the trials were ranked by."""
    budget: str | None = None
    """Of each trial; None: unlimited, or unknown in a record of before schema 7."""
    sampler: str = RANDOM
    """Where the settings of the trials came from: `random`, `tpe` or `grid`."""
    pruned: int | None = None
    """How many trials were stopped before their end; None where the search stopped none by its rule."""


class ForeignPart(_Part):
    """Lists that another toolkit made and this one only measured."""

    file: str
    """Name of the file, without its folder."""
    sha256: str
    users_without_list: dict[View, int]
    """Test users that the file says nothing about, per view: misses everywhere."""
    users_not_asked: int
    """Users of the file that have no test query; their lists count for nothing."""
    lists_cut: int
    """Lists, in all views, that were longer than what is measured."""


class ReferencePart(_Part):
    """A run beside one cheap reference on the same split, in one view, on the main metric."""

    reference: str
    """Row name of the reference, such as `popularity:default`."""
    model: str
    view: View
    value: float
    """Mean over the test users under the reference."""
    difference: Interval
    """The run minus the reference, paired by user."""

    @property
    def verdict(self) -> str:
        """`above`, `level with` or `below`: on which side of 0 the interval of the difference lies."""
        if self.difference.low > 0:
            return "above"
        return "below" if self.difference.high < 0 else "level with"


class RunRecord(Tabular, _Part):
    """`record.json`; `to_frame` gives its metrics."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    started: str
    """UTC, ISO 8601."""
    command: list[str]
    model: ModelPart
    dataset: DatasetPart
    task: str = "next-item"
    """Question that was asked; records before schema 4 do not say."""
    protocol: ProtocolPart
    fingerprints: Fingerprints
    config: dict[str, Any]
    """All settings, in groups; on one level up to schema 3."""
    config_hash: str
    """Hash of model name, config (see `hashed_settings`) and budget, without the seed: runs that differ only in their seed
    share it, of whatever schema."""
    budget: str | None
    seed: int
    code: CodePart
    libraries: dict[str, str]
    device: DevicePart
    stages: list[StagePart]
    fit: FitPart
    targets: TargetsPart
    notes: dict[str, int | float | str] = {}
    """Things counted while dividing the data."""
    metrics: dict[View, dict[str, Interval]]
    """View, then metric."""
    slices: list[SlicePart]
    beyond: dict[View, dict[str, float]]
    """View, then figure: coverage@10, gini@10, entropy@10, popularity_lift@10, tail_share@10, novelty@10."""
    diagnostics: dict[str, float]
    """Mean list length and share of short lists per view; counters of generative models; of models with item codes figures of these and
    scores at code level."""
    cost: CostPart | None
    """None where the lists were made elsewhere."""
    files: list[FilePart]
    tuned: TunePart | None = None
    """The search that the settings come from; None where nobody searched, or they were changed since."""
    remeasured: CodePart | None = None
    """Code that computed the figures where that is not `code`: the evaluator changed since, and ranks were measured again."""
    foreign: ForeignPart | None = None
    """Origin of the lists; None for a model that was trained here. `device` is then where they were measured, and `fit` is empty."""

    def _headline(self) -> str:
        return f"{self.model.row_name} on {self.dataset.name}, seed {self.seed}, run {self.run_id}"

    def _lines(self) -> list[dict[str, Any]]:
        of_run: dict[str, Any] = {
            "run": self.run_id,
            "dataset": self.dataset.name,
            "split": self.protocol.split,
            "model": self.model.row_name,
        }
        of_run |= {"seed": self.seed, "budget": self.budget}
        return [
            {**of_run, "view": view, "metric": metric, "value": figure.value, "low": figure.low, "high": figure.high}
            for view, metrics in self.metrics.items()
            for metric, figure in metrics.items()
        ]

    def file(self, prefix: str) -> FilePart:
        """The file of this run whose name starts with `prefix`."""
        for part in self.files:
            if part.name.startswith(prefix):
                return part
        raise BadData(f"Record {self.run_id} names no file {prefix!r}. Run it again with --again.")

    @property
    def is_flat(self) -> bool:
        """Whether the settings stand on one level, by the names of before schema 4."""
        return self.schema_version <= LAST_FLAT

    def with_present_config(self, moved: Mapping[str, str], added: Mapping[str, Any]) -> "RunRecord":
        """The record with its settings as the model has them today. Published records are never written so.

        Args:
            moved: `[moved]` of the model's card; leads from schema 3 to 4.
            added: `[added]` of it; settings that the record does not know.
        """
        config = moved_settings(self.config, moved) if self.is_flat else self.config
        return self.model_copy(update={"schema_version": SCHEMA_VERSION, "config": with_added(config, added)})

    def to_json(self) -> str:
        """The text of `record.json`, the same for equal records; its last key is the sum of all others."""
        raw = json.loads(self.model_dump_json())
        return json.dumps({**raw, _SEAL: _sum_of(raw)}, indent=1, ensure_ascii=False) + "\n"


def _sum_of(raw: Mapping[str, Any]) -> str:
    """sha256 of JSON values as they stand in a file; not of a `RunRecord`, which may have gained fields since."""
    return hash_value(raw)


def is_laid_out_as_written(content: bytes) -> bool:
    """Whether the text of a record is the one that `RunRecord.to_json` gives to its values, of whatever schema.

    A text with a key twice, or with numbers of another form, says one thing to a reader and another to a program.
    """
    return (json.dumps(json.loads(content), indent=1, ensure_ascii=False) + "\n").encode() == content


def read_record(path: Path) -> RunRecord:
    """The record in a file; one that cannot be read, or is not what was written, is a `BadData` that names it."""
    return read_summed_record(path)[0]


def read_summed_record(path: Path) -> tuple[RunRecord, str]:
    """As `read_record`, and the sha256 of the bytes that it was read from."""
    advice = "Restore the file or run it again with --again."
    try:
        content = path.read_bytes()
        raw = json.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise BadData(f"{path}: there is no such record. `recbench list runs` shows what there is.") from None
    except OSError as error:
        refuse_shortage(error)
        raise BadData(f"{path} cannot be read: {error.strerror}. {advice}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number or a depth beyond what Python reads
        raise BadData(f"{path} is not valid JSON: {error}. {advice}") from None
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version not in _READ_VERSIONS:
        known = ", ".join(map(str, _READ_VERSIONS))
        raise BadData(f"{path} has schema version {version!r}; this recbench reads {known}. Update one of them.")
    if (_SEAL in raw or version >= _FIRST_SEALED) and not _is_whole(raw):
        raise BadData(f"{path} is not what was written: its content and the sum at its end differ. Records are never edited. {advice}")
    try:
        return RunRecord.model_validate(raw), hashlib.sha256(content).hexdigest()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadData(f"{path}: {key}: {first['msg']}. {advice}") from None


def _is_whole(raw: dict[str, Any]) -> bool:
    """Whether the sum, which is taken out, is that of the rest."""
    seal = raw.pop(_SEAL, None)
    try:
        return bool(seal == _sum_of(raw))
    except (ValueError, RecursionError):  # damage has put in a NaN, half of a character, or a depth beyond what Python writes
        return False
