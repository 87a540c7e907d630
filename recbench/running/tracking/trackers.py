"""All trackers of one run: what it tells goes to each, and one that fails is heard of once and then left out."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbench import registry
from recbench.core.errors import BadRequest, Interrupted, Pruned
from recbench.core.plugin import CurvePoint
from recbench.running.tracking.tracker import OpenTracker, State, TrackedRun, Tracker

log = logging.getLogger(__name__)


class Trackers:
    """Trackers that a command asks for, by `NAME` or `NAME=FOLDER`."""

    def __init__(self, asked: Sequence[str], runs: Path) -> None:
        """Find them, and open none.

        Args:
            asked: what `--track` was given.
            runs: folder of run folders; a tracker without a folder of its own keeps its files below.

        Raises:
            BadRequest: nobody offers a tracker of this name, its library is not installed, or it takes no folder.
        """
        self._runs = runs
        self._openers: dict[str, tuple[OpenTracker, Path | None]] = {}
        for text in asked:
            name, has_folder, path = text.partition("=")
            if name in self._openers or (has_folder and not path):
                raise BadRequest(f"--track {text!r} is not understood. Give each tracker once, as NAME or NAME=FOLDER.")
            opener, folder = registry.trackers().load(name), Path(path) if has_folder else None
            if hasattr(opener, "check"):
                opener.check(folder)
            self._openers[name] = (opener, folder)
        self._open: dict[str, Tracker] = {}
        self._told: dict[str, int] = {}
        """By training, the step whose loss was told last."""
        self.figures: dict[str, float] = {}
        """What came out of the run, told at its end."""

    @contextmanager
    def following(self, run_id: str, facts: Mapping[str, str], settings: Mapping[str, Any]) -> Iterator[None]:
        """Follow a run for a block, whose end is the run's."""
        for name, (opener, folder) in self._openers.items():
            with self._surviving(name):
                self._open[name] = opener(TrackedRun(run_id, dict(facts), dict(settings), folder, self._runs / name))
        state: State = "failed"
        try:
            yield
            state = "done"
        except BaseException as error:
            state = "pruned" if isinstance(error, Pruned) else "stopped" if isinstance(error, Interrupted | KeyboardInterrupt) else state
            raise
        finally:
            figures = {name: value for name, value in self.figures.items() if math.isfinite(value)}
            self._tell(lambda tracker: tracker.finish(figures if state == "done" else {}, state))
            self._open.clear()

    def note(self, point: CurvePoint, *, examples: int, validations: int) -> None:  # noqa: ARG002
        """Tell a point of the curve, see `FitContext.note`."""
        self._point(point, {"examples": examples})

    def replay(self, curve: Sequence[CurvePoint]) -> None:
        """Tell all points of a training that was found in the cache."""
        for point in curve:
            self._point(point, {})

    def _point(self, point: CurvePoint, values: dict[str, float]) -> None:
        training = point.training or "training"
        values |= {"epoch": point.epoch, "seconds": point.seconds}
        if point.loss is not None and self._told.get(training) != point.step:  # a validation comes again with the loss of its step
            self._told[training] = point.step
            values["loss"] = point.loss
        if point.learning_rate is not None:
            values["learning_rate"] = point.learning_rate
        values |= {f"validation/{name}": value for name, value in (point.validation or {}).items()}
        self._tell(lambda tracker: tracker.log(training, point.step, values))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            with self._surviving(name):
                call(tracker)

    @contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        """Leave a tracker out for good where it fails, whatever it raises: what it would show is worth no run."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self._open.pop(name, None)
            fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
            log.warning("tracker %s failed and is left out from here on: %s", name, fault)
