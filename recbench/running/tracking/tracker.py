"""Contract between a run and those who watch it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from recbench.about import DISTRIBUTION
from recbench.core.errors import BadRequest

State = Literal["done", "failed", "stopped", "pruned"]
"""How a run ended: `stopped` by Ctrl-C or SIGTERM goes on with the same command, `pruned` is a trial that its search gave up."""


@dataclass(frozen=True)
class TrackedRun:
    """A run that begins, or goes on after a stop.

    Attributes:
        run_id: name of its folder below the runs; a run that goes on has the one that it had.
        facts: model, data set, seed and the like, as texts.
        settings: by dotted name.
        folder: where the user wants it kept; None: wherever the library is set up to keep it, else in `default_folder`.
        default_folder: below the runs.
    """

    run_id: str
    facts: Mapping[str, str]
    settings: Mapping[str, Any]
    folder: Path | None
    default_folder: Path


class Tracker(Protocol):
    """One run in a library that people watch runs with."""

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Keep figures of one step; steps of one series do not fall, but for those that a run repeats after a stop.

        Args:
            series: name of a training of the model.
            step: optimiser steps of that training.
            values: by name, such as `loss` or `validation/ndcg@10`.
        """

    def finish(self, figures: Mapping[str, float], state: State) -> None:
        """End the run, or this attempt at it; nothing is told afterwards.

        Args:
            figures: what came out, such as `unseen/ndcg@10`; none where the run did not end well.
            state: how it ended.
        """


class OpenTracker(Protocol):
    """What the entry point of a tracker names: it begins a run, or goes on with the one of this id.

    A class or function that has an attribute `check` is asked before any work whether it can serve: `check(folder)`, with the folder
    that the user gave or None, raises a `BadRequest` where it cannot.
    """

    def __call__(self, run: TrackedRun) -> Tracker:
        """Begin to follow this run."""


def need(tracker: str, *modules: str) -> None:
    """Import what a tracker of recbench is built on, before the clock of a budget runs; a `BadRequest` where it is not installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise BadRequest(
                f"--track {tracker} needs {module}, which cannot be imported here: {error}. Install it: pip install '{DISTRIBUTION}[track]'"
            ) from None
