"""Bars of progress in the output of a notebook's cell."""

import time
import warnings
from typing import Any

from rich.progress import Progress, TaskID
from rich.text import Text

_EVERY_S = 0.3


class NotebookBar(Progress):
    """Rich's bars, drawn by IPython itself: rich's own way needs ipywidgets, and shows nothing without them."""

    _drawn_at = 0.0
    _place: Any = None

    def start(self) -> None:
        """Show the bars below what the cell has printed, or where they stood before."""
        from IPython.display import display

        # What tqdm says where a library imports it in a notebook without widgets, which nothing here draws with.
        warnings.filterwarnings("ignore", message="IProgress not found")
        if self._place is None:
            self._place = display(self.make_tasks_table(self.tasks), display_id=True)

    def stop(self) -> None:
        """Take the bars away."""
        self._place.update(Text())

    def refresh(self) -> None:
        """Draw the bars anew, at most a few times a second: each drawing is a message to the browser."""
        now = time.monotonic()
        if self._place is not None and now - self._drawn_at >= _EVERY_S:
            self._drawn_at = now
            self._place.update(self.make_tasks_table(self.tasks))

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """`advance` more units of a task are done."""
        super().advance(task_id, advance)
        self.refresh()

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Other values of a task, as rich names them."""
        super().update(task_id, **fields)
        self.refresh()
