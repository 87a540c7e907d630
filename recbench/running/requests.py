"""Requests and their results: types that the command line, the functions of `recbench` and workers share."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.core.errors import BadRequest
from recbench.core.ranking import BOTH
from recbench.core.records import ReferencePart, RunRecord
from recbench.core.tabular import Tabular
from recbench.core.tuning import RANDOM

if TYPE_CHECKING:
    import pandas as pd

MOST_SEEDS, MOST_TRIALS, MOST_JOBS, MOST_THREADS = 1_000, 10_000, 10_000, 10_000
"""Bounds of what one command starts: all cells and trials are laid out before the first one runs, and more would only fill the memory."""


def refuse_count(option: str, count: int | None, most: int) -> None:
    """Raise a `BadRequest` for a count that is not from 1 to `most`; None is no count."""
    if count is not None and not 1 <= count <= most:
        raise BadRequest(f"{option} {count} is not possible. Give a whole number from 1 to {most:,}.")


def refuse_seed(seed: int) -> None:
    """Raise a `BadRequest` for a seed that is no whole number from 0 on."""
    if seed < 0 or seed != int(seed):
        raise BadRequest(f"--seed {seed} is not possible. Give a whole number from 0 on.")


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of every command that trains.

    Attributes:
        budget: bound of one run's training and ranking, such as `20m`, `5000steps`; None: none.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: number of CPU threads to use; None: all cores, shared between runs at the same time.
        ties: order of events of one user with equal times.
        protocol: split protocol with its options; None: the default of the task.
        plugins: folders of models that are not installed.
    """

    budget: str | None = None
    device: str = "auto"
    threads: int | None = None
    ties: str = "source"
    protocol: str | None = None
    plugins: tuple[Path, ...] = ()

    def common(self) -> dict[str, Any]:
        """Values of these options alone, by name, for a request of another kind."""
        return {option.name: getattr(self, option.name) for option in fields(CommonOptions)}


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """Options of who is told about a run; they change nothing in its record.

    Attributes:
        track: trackers that follow each run, `NAME` or `NAME=FOLDER`.
    """

    track: tuple[str, ...] = ()

    def watched(self) -> dict[str, Any]:
        """Values of these options alone, by name, for a request of another kind."""
        return {option.name: getattr(self, option.name) for option in fields(WatchOptions)}


@dataclass(frozen=True, kw_only=True)
class ManyOptions(CommonOptions, WatchOptions):
    """Options of the commands that make many runs or trials.

    Attributes:
        jobs: number of runs at a time; None: one, or on a cluster as many as it has room for.
        executor: name of the executor of the runs: `local`, `ray`, or one of another distribution.
    """

    jobs: int | None = None
    executor: str = "local"


@dataclass(frozen=True)
class RunRequest(CommonOptions, WatchOptions):
    """Request for a run; the fields are the options of `recbench run`."""

    model: str
    dataset: str
    preset: str | None = None
    seed: int = 0
    config_file: Path | None = None
    tune_log: Path | None = None
    """Log of the search that the settings come from, where they come without the file that it wrote."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "auto"
    seen: str = BOTH
    again: bool = False
    rerun: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()
    """What the training consumes that is measured too: `energy`, `flops`."""
    jobs: int = 1
    """Number of runs that share the machine; written into the record."""
    journal: Path | None = None
    """Of a trial: the journal of its search, for one that may be pruned."""
    trial: int = 0
    """Of a trial with a journal: its number."""


@dataclass(frozen=True, repr=False)
class RunOutcome(Tabular):
    """Result of `run`; `to_frame` gives the metrics of its record."""

    record: RunRecord
    folder: Path
    is_new: bool
    """False where a finished record of the same request was found."""
    references: tuple[ReferencePart, ...] = ()
    """The run beside the cheap references of its split."""

    def references_to_frame(self) -> "pd.DataFrame":
        """The cheap references, a line per model and view: their mean of the main metric, and this run minus it, paired by user.

        `low` and `high` are the ends of the 95 % interval of `difference`, `verdict` says on which side of 0 it lies.
        """
        import pandas as pd

        columns = ["reference", "view", "value", "difference", "low", "high", "verdict"]
        lines = [
            (part.reference, part.view, part.value, part.difference.value, part.difference.low, part.difference.high, part.verdict)
            for part in self.references
        ]
        return pd.DataFrame(lines, columns=columns)

    def _headline(self) -> str:
        return f"{self.record._headline()}, {'new' if self.is_new else 'finished before'}"

    def _lines(self) -> list[dict[str, Any]]:
        return self.record._lines()


@dataclass(frozen=True)
class CompareRequest(ManyOptions):
    """Request for a comparison; the budget is that of each cell."""

    models: tuple[str, ...]
    """Each `NAME` or `NAME:PRESET`."""
    datasets: tuple[str, ...]
    seeds: int = 1
    measure: tuple[str, ...] = ()
    """As in `RunRequest`."""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TuneRequest(ManyOptions):
    """Request for a search; the fields are the options of `recbench tune`, the budget is that of each trial."""

    model: str
    dataset: str
    trials: int = 20
    seed: int = 0
    preset: str | None = None
    sampler: str = RANDOM
    """`random`, `tpe` or `grid`."""
    prune: bool = False
    """Whether to stop trials that fall behind."""


@dataclass(frozen=True)
class PlanRequest(CommonOptions):
    """Request for an estimate; the fields are options of `recbench run`."""

    model: str
    dataset: str
    preset: str | None = None
    config_file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seen: str = BOTH


@dataclass(frozen=True)
class ImportRequest:
    """Request for an import; the fields are the options of `recbench import-ranks`."""

    file: Path
    model: str
    dataset: str
    seen: str | None = None
    seed: int = 0
    ties: str = "source"
    protocol: str | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a comparison."""

    model: str
    preset: str | None
    dataset: str
    seed: int
    state: str
    """`waiting`, `running`, `done`, `failed`."""
    folder: Path | None = None
    reason: str = ""
    """Reason of the failure, or the current step."""
    seconds: float = 0.0
    left_s: float | None = None
    """Seconds that the current step will still take; None while nobody can say."""
    is_new: bool = True
    """False where a finished record of the same request was found."""
    config_file: Path | None = None
    """Settings in place of the preset's, such as the winner's of a search."""

    @property
    def row_name(self) -> str:
        """`MODEL` or `MODEL:PRESET`, as in the request."""
        return self.model if self.preset is None else f"{self.model}:{self.preset}"

    def __str__(self) -> str:
        return f"{self.row_name} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Recommendation:
    """One line of `recbench recommend`."""

    item_id: str
    title: str | None
    score: float
