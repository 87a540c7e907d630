"""Weights & Biases: runs of the project `recbench`, offline unless WANDB_MODE says otherwise."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbench.running.tracking.tracker import State, TrackedRun, need


class WandbTracker:
    """Writes below a folder; `wandb sync` sends it, should the user want that."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        folder = (run.folder or run.default_folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project="recbench",
            id=run.run_id,
            name=run.run_id,
            dir=str(folder),
            # Its own default is to send all of it away.
            mode=os.environ.get("WANDB_MODE") or "offline",  # type: ignore[arg-type]
            resume="allow",
            config={**run.facts, **run.settings},
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True),
        )
        self._series: set[str] = set()

    @staticmethod
    def check(_folder: Path | None) -> None:
        """Refuse where wandb is not installed."""
        # Its errors would go to its makers whatever the mode, unless the user says otherwise.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        need("wandb", "wandb")

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """All values of a step, drawn over the steps of their series: the library's own must not fall."""
        if series not in self._series:
            self._series.add(series)
            self._run.define_metric(f"{series}/*", step_metric=f"{series}/step")
        self._run.log({f"{series}/step": step, **{f"{series}/{name}": value for name, value in values.items()}})

    def finish(self, figures: Mapping[str, float], state: State) -> None:
        """The figures as the run's summary."""
        self._run.summary.update({**{f"run/{name}": value for name, value in figures.items()}, "run/state": state})
        self._run.finish(exit_code=1 if state == "failed" else 0)
