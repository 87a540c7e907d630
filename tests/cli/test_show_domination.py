"""`recbench show --domination` on a plugin of the tests: from `fit` to the record, the table and the picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("demo_home")

SPACES = """
    import numpy as np
    def make(folder):
        rng = np.random.default_rng(0)
        collab, text = (rng.normal(size=(len(context.items), 8)).astype(np.float32) for _ in range(2))
        spaces = {{"{first}": collab, "semantic": text, "side by side": np.concatenate([collab, 50 * text], 1)}}
        np.savez(folder / "anything.npz", **spaces)
    return FitReport(artefacts={{"spaces": context.stage("spaces", make, config={{}}) / "anything.npz"}})
"""


@pytest.fixture
def spaced(write_plugin: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a plugin whose `fit` names a file of spaces as its artefact."""

    def write(first: str = "collaborative") -> Path:
        folder = write_plugin("spaced")
        source = folder / "__init__.py"
        body = "\n    ".join(SPACES.format(first=first).splitlines())
        source.write_text(source.read_text().replace("        return FitReport()", body))
        return folder

    return write


def test_spaces_are_compared_in_the_record_and_shown(recbench: Any, spaced: Callable[..., Path]) -> None:
    plugin = spaced()
    made = recbench("run", "-m", "spaced", "-d", "demo", "--plugin", plugin, "--json")
    assert made.code == 0, made.stderr
    assert made.json["record"]["diagnostics"]["domination_index:side by side"] > 0.9
    shown = recbench("show", "last", "--domination", "--plugin", plugin)
    assert shown.code == 0, shown.stderr
    assert "side by side" in shown.stdout
    found = recbench("show", "last", "--domination", "--plot", "--json", "--plugin", plugin).json
    assert [space["name"] for space in found["domination"]["spaces"]] == ["side by side"]
    assert (Path(made.json["folder"]) / "domination.png").read_bytes().startswith(b"\x89PNG")
    whole = recbench("show", "last", "--plugin", plugin).stdout
    assert "shown with --domination" in whole
    both = recbench("show", "last", "--domination", "--codes", "--plugin", plugin)
    assert both.code == 2
    assert "Give one of them" in both.stderr


def test_runs_without_spaces_say_so(recbench: Any) -> None:
    recbench("run", "-m", "popularity", "-d", "demo")
    shown = recbench("show", "last", "--domination")
    assert shown.code == 2
    assert "compares no spaces of item vectors" in shown.stderr


def test_a_file_without_the_references_fails_the_run(recbench: Any, spaced: Callable[..., Path]) -> None:
    made = recbench("run", "-m", "spaced", "-d", "demo", "--plugin", spaced("something"))
    assert made.code == 1
    assert "gave spaces that cannot be read" in made.stderr
    assert "no space called 'collaborative'" in made.stderr
