"""TensorBoard: event files below one folder, a folder for each run."""

from collections.abc import Mapping
from pathlib import Path

from recbench.running.tracking.tracker import State, TrackedRun, need


class TensorBoardTracker:
    """Writes with the SummaryWriter of torch; a run that goes on adds a file to its folder."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str((run.folder or run.default_folder) / run.run_id))
        rows = [f"| {name} | {_cell(value)} |" for name, value in {**run.facts, **run.settings}.items()]
        self._writer.add_text("settings", "\n".join(["| | |", "| --- | --- |", *rows]))
        self._writer.flush()

    @staticmethod
    def check(_folder: Path | None) -> None:
        """Refuse where TensorBoard is not installed."""
        need("tensorboard", "tensorboard", "torch.utils.tensorboard")

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """A point for each value."""
        for name, value in values.items():
            self._writer.add_scalar(f"{series}/{name}", value, step)
        # A run that is killed goes on behind its last checkpoint: what was told before that is not told again.
        self._writer.flush()

    def finish(self, figures: Mapping[str, float], state: State) -> None:
        """A point at step 0 for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(f"run/{name}", value, 0)
        self._writer.add_text("state", state)
        self._writer.close()


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")
