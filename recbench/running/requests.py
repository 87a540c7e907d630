"""What can be asked for, and what is given back: the types that the command line, the functions of `recbench` and workers share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbench.core.records import ReferencePart, RunRecord


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
