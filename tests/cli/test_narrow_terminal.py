"""Tables in a terminal of 80 columns or fewer: what somebody copies into the next command is whole and on one line."""

import io
import re
from typing import Any

import pytest

from recbench.core.console import VisibleConsole
from recbench.reporting import compare_runs, comparison_table
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request
from recbench.running.run.folders import run_folders

STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("narrow")
    workplace = Workplace(folder / "home", None, folder / "runs", folder / "leaderboards")
    for model in ("popularity", "last-item-markov"):
        run_request(RunRequest(model, "demo", threads=1), workplace)
    return workplace


@pytest.fixture(params=[80, 60])
def narrow(request: pytest.FixtureRequest, recbench: Any, two_runs: Workplace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives commands whose results go to a terminal of so many columns, in a folder with two runs."""
    monkeypatch.chdir(two_runs.runs.parent)
    monkeypatch.setenv("RECBENCH_HOME", str(two_runs.home))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return recbench


def words(text: str) -> set[str]:
    return set(STEERING.sub("", text).split())


def test_run_ids_are_whole_in_the_list_of_runs(narrow: Any, two_runs: Workplace) -> None:
    ids = {folder.name for folder in run_folders(two_runs.runs)}
    assert len(ids) == 2
    shown = narrow("list", "runs").stdout
    assert ids <= words(shown)
    assert "…" not in shown


def test_entries_are_whole_in_the_list_of_the_cache(narrow: Any) -> None:
    names = {entry["name"] for entry in narrow("cache", "ls", "--json").json}
    shown = narrow("cache", "ls").stdout
    assert names <= words(shown)
    assert "…" not in shown


def test_paths_and_commands_are_folded_but_never_cut(narrow: Any) -> None:
    assert "…" not in narrow("doctor").stdout


def test_ids_of_items_are_whole_among_recommendations(narrow: Any, two_runs: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    asked = ("recommend", run_folders(two_runs.runs)[0].name, "--item", "item-0001")
    assert {found["item_id"] for found in narrow(*asked, "--json").json} <= words(narrow(*asked).stdout)


def test_references_are_whole_beside_a_run(narrow: Any) -> None:
    shown = narrow("run", "-m", "popularity", "-d", "demo", "--threads", "1").stdout
    assert {"item-knn:decay", "last-item-markov:default"} <= words(shown)
    assert "…" not in shown


def test_names_of_models_are_whole_in_the_list_of_models(narrow: Any) -> None:
    shown = narrow("list", "models").stdout
    assert {"recent-popularity", "last-item-markov"} <= words(shown)
    # A few lines each: the words have most of the width.
    assert len(shown.splitlines()) < 8 * len(narrow("list", "models", "--json").json)


def test_rows_are_whole_in_a_comparison(two_runs: Workplace) -> None:
    stream = io.StringIO()
    comparison = compare_runs(run_folders(two_runs.runs))
    VisibleConsole(file=stream, width=40).print(comparison_table(comparison), crop=False)
    lines = [line.split() for line in stream.getvalue().splitlines()]
    assert sum(line[:1] == ["last-item-markov:default"] for line in lines) == 2
    assert "…" not in stream.getvalue()
