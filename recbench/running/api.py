"""The command line's verbs as functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.core.errors import BadRequest
from recbench.core.records import ReferencePart, RunRecord
from recbench.running.places import Places

if TYPE_CHECKING:
    from recbench.running.loaded import LoadedRun


@dataclass(frozen=True)
class RunRequest:
    """All that a run can be asked for; the fields are the options of `recbench run`."""

    model: str
    dataset: str
    preset: str | None = None
    seed: int = 0
    config_file: Path | None = None
    tune_log: Path | None = None
    """Of the search that the settings come from, where they come without the file that it wrote."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    seen: str = "both"
    ties: str = "source"
    protocol: str = "leave-one-out"
    plugins: tuple[Path, ...] = ()
    again: bool = False
    rerun: tuple[str, ...] = ()
    jobs: int = 1
    """How many runs share the machine; written into the record."""


@dataclass(frozen=True)
class RunOutcome:
    """What `run` gives back."""

    record: RunRecord
    folder: Path
    is_new: bool
    """False where a finished record of the same request was found."""
    references: tuple[ReferencePart, ...] = ()
    """The run beside the cheap references of its split."""


@dataclass(frozen=True)
class CompareRequest:
    """All that a comparison can be asked for."""

    models: tuple[str, ...]
    """Each `NAME` or `NAME:PRESET`."""
    datasets: tuple[str, ...]
    seeds: int = 1
    jobs: int | None = None
    """How many cells at a time; None: one, or on a cluster as many as it has room for."""
    executor: str = "local"
    """`local` or `ray`."""
    budget: str | None = None
    """Of each cell."""
    device: str = "auto"
    threads: int | None = None
    ties: str = "source"
    protocol: str = "leave-one-out"
    plugins: tuple[Path, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


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
    """Why it failed, or what it does now."""
    seconds: float = 0.0
    left_s: float | None = None
    """Seconds that what it does now will still take; None while nobody can say."""
    is_new: bool = True
    """False where a finished record of the same request was found."""

    @property
    def row_name(self) -> str:
        """`MODEL` or `MODEL:PRESET`, as it was asked for."""
        return self.model if self.preset is None else f"{self.model}:{self.preset}"

    def __str__(self) -> str:
        return f"{self.row_name} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Recommendation:
    """One line of `recbench recommend`."""

    item_id: str
    title: str | None
    score: float


def run(
    model: str,
    dataset: str,
    *,
    preset: str | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    budget: str | None = None,
    device: str = "auto",
    data_dir: Path | str | None = None,
    plugins: Sequence[Path | str] = (),
    again: bool = False,
) -> RunOutcome:
    """Train a model on a data set, rank the full catalogue for every test user, write a record; `recbench run` as a function.

    Args:
        model: plugin name.
        dataset: name of a card, or a path to a card or to a folder with interactions.parquet or .csv.
        preset: named settings; default: the card's for this machine.
        seed: of the run.
        overrides: single settings, over the preset's.
        budget: such as `20m`, `5000steps`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.
        plugins: folders of models that are not installed.
        again: make a new record even where a finished one is there.

    Raises:
        RecbenchError: with a sentence that says what to do.
    """
    from recbench.core.progress import ConsoleProgress
    from recbench.running.execute import run_request

    request = RunRequest(
        model=model,
        dataset=dataset,
        preset=preset,
        seed=seed,
        overrides=overrides or {},
        budget=budget,
        device=device,
        plugins=tuple(Path(path) for path in plugins),
        again=again,
    )
    places = Places.from_environment(data_dir=None if data_dir is None else Path(data_dir))
    outcome = run_request(request, places, ConsoleProgress())
    if outcome is None:
        raise BadRequest("This process is not the first of its group; only rank 0 has the record. Read the run folder instead.")
    return outcome


def load(run: Path | str, *, plugins: Sequence[Path | str] = (), device: str = "cpu") -> "LoadedRun":
    """The trained model of a run: `load("last").recommend(["B00..."], k=10)`.

    Args:
        run: a run folder, a run id or its unique start, or `last`.
        plugins: folders of models that are not installed.
        device: where the model answers: `auto`, `cpu`, `cuda` or `cuda:N`. A model that cannot be moved answers on the CPU.
    """
    from recbench import registry
    from recbench.running.loaded import LoadedRun, record_with_model
    from recbench.running.runs import find_run

    places = Places.from_environment()
    folder = find_run(str(run), places.runs, places.boards)
    models = registry.models(tuple(Path(path) for path in plugins))
    return LoadedRun.open(folder, models.load(record_with_model(folder).model.name), device=device)


def compare(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    seeds: int = 1,
    jobs: int | None = None,
    executor: str = "local",
    budget: str | None = None,
) -> list[Cell]:
    """Run models x data sets x seeds, only what is missing, each in its own process; `recbench compare` as a function."""
    from recbench.running.matrix import compare_request

    request = CompareRequest(tuple(models), tuple(datasets), seeds=seeds, jobs=jobs, executor=executor, budget=budget)
    return compare_request(request, Places.from_environment(), lambda _cells: None)
