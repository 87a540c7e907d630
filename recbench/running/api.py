"""The command line's verbs as functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbench.core.records import RunRecord


@dataclass(frozen=True)
class RunRequest:
    """All that a run can be asked for; the fields are the options of `recbench run`."""

    model: str
    dataset: str
    preset: str | None = None
    seed: int = 0
    config_file: Path | None = None
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


@dataclass(frozen=True)
class CompareRequest:
    """All that a comparison can be asked for."""

    models: tuple[str, ...]
    """Each `NAME` or `NAME:PRESET`."""
    datasets: tuple[str, ...]
    seeds: int = 1
    jobs: int = 1
    budget: str | None = None
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
    """Why it failed."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Recommendation:
    """One line of `recbench recommend`."""

    item_id: str
    title: str | None
    score: float
