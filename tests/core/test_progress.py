"""Bars of progress in a notebook, which IPython draws."""

import sys
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from recbench.core.console import VisibleConsole
from recbench.core.progress import ConsoleProgress


class Cell:
    """Output of a cell: what stands in its one place now, and what stood there."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.places = 0

    def update(self, renderable: Any) -> None:
        console = Console(width=100, force_jupyter=False, force_terminal=False)
        with console.capture() as captured:
            console.print(renderable)
        self.shown.append(captured.get())


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell = Cell()

    def display(renderable: Any, *, display_id: bool) -> Cell:
        cell.places += 1
        cell.update(renderable)
        return cell

    module = ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("recbench.core.notebook_bar._EVERY_S", 0.0)
    return cell


def test_a_notebook_shows_bars_without_ipywidgets(cell: Cell) -> None:
    progress = ConsoleProgress(VisibleConsole(force_jupyter=True))
    with progress.task("training", 10) as task:
        task.advance(4)
        task.show("loss 0.5")
        with progress.task("validating", 3) as inner:
            inner.advance()
            assert "training" in cell.shown[-1]
            assert "1/3" in cell.shown[-1]
        assert "4/10" in cell.shown[-1]
        assert "loss 0.5" in cell.shown[-1]
    assert cell.shown[-1].strip() == ""
    with progress.task("ranking", 2) as task:
        task.advance(1)
        assert "1/2" in cell.shown[-1]
        assert "training" not in cell.shown[-1]
    assert (cell.shown[-1].strip(), cell.places) == ("", 1)
