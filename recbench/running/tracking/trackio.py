"""Trackio: runs of the project `recbench`, wherever TRACKIO_DIR says."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbench.core.errors import BadRequest
from recbench.running.tracking.tracker import State, TrackedRun, need


class TrackioTracker:
    """Keeps all in the user's own store; it is sent nowhere unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL is set."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        with contextlib.redirect_stdout(sys.stderr):  # it prints greetings where our results go
            self._run: Any = trackio.init(
                project="recbench",
                name=run.run_id,
                resume="allow",
                config={**run.facts, **run.settings},
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

    @staticmethod
    def check(folder: Path | None) -> None:
        """Refuse a folder: the library reads where to keep things from the environment, once."""
        if folder is not None:
            raise BadRequest("--track trackio takes no folder: trackio keeps all projects in one place. Set TRACKIO_DIR to move it.")
        need("trackio", "trackio")

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """All values of a step."""
        self._run.log({f"{series}/{name}": value for name, value in values.items()}, step=step)

    def finish(self, figures: Mapping[str, float], state: State) -> None:
        """The figures as values of the last step."""
        import trackio

        with contextlib.redirect_stdout(sys.stderr):
            self._run.log({**{f"run/{name}": value for name, value in figures.items()}, "run/state": state})
            # Not by the run: it would be finished, with a greeting, once more at the end of the process.
            trackio.finish()
