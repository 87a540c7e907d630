"""Executors of other distributions: found by their entry points, and used by comparisons and searches alike."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbench.core import BadRequest, PluginFailed
from recbench.core.records import read_record
from recbench.running.host.workplace import Workplace
from recbench.running.many.compare import compare_request
from recbench.running.many.tune import TrialState, tune_request
from recbench.running.requests import Cell, CompareRequest, TuneRequest

MODULE = """
from recbench.running.many.executors import Report
from recbench.running.many.worker import do_job

happened = []

class Inline:
    '''Makes every run at once, in this process.'''
    at_once, threads, jobs, device = 1, 1, 3, "cpu"

    def __init__(self, request, workplace):
        self.workplace = workplace
        happened.append(f"open, --jobs {request.jobs}")

    def start(self, request, job):
        happened.append(f"{job} of {request.model}, {request.threads} threads, {request.jobs} jobs")
        self.result = do_job(job, request, self.workplace)
        return self

    def report(self):
        return Report("done", self.result)

    def close(self):
        happened.append("close")

NUMBER = 7
"""


@pytest.fixture
def happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the executor `inline` of another distribution did; that one offers `number` as well, which is none."""
    about = tmp_path / "elsewhere" / "elsewhere-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    lines = ["[recbench.executors]", "inline = elsewhere_executors:Inline", "number = elsewhere_executors:NUMBER", ""]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (about.parent / "elsewhere_executors.py").write_text(MODULE)
    monkeypatch.syspath_prepend(about.parent)
    notes: list[str] = __import__("elsewhere_executors").happened
    yield notes
    del sys.modules["elsewhere_executors"]


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")


def test_a_comparison_runs_on_the_executor_of_another_distribution(workplace: Workplace, happened: list[str]) -> None:
    seen: list[list[Cell]] = []
    (cell,) = compare_request(CompareRequest(("popularity",), ("demo",), executor="inline"), workplace, seen.append)
    assert happened == ["open, --jobs None", "run of popularity, 1 threads, 3 jobs", "close"]
    assert seen == [[cell]]
    assert cell.folder is not None
    device = read_record(cell.folder / "record.json").device
    assert (device.jobs, device.threads) == (3, 1)


def test_a_search_runs_on_the_executor_of_another_distribution(workplace: Workplace, happened: list[str]) -> None:
    seen: list[list[TrialState]] = []
    found = tune_request(TuneRequest("item-knn", "demo", trials=2, jobs=2, executor="inline"), workplace, seen.append)
    assert happened == ["open, --jobs 2", *["trial of item-knn, 1 threads, 3 jobs"] * 2, "close"]
    assert [[state.state for state in states] for states in seen] == [["waiting", "waiting"], ["done", "waiting"], ["done", "done"]]
    assert (found.log.device, found.log.threads, found.log.jobs) == ("cpu", 1, 3)
    assert found.best.score == max(trial.score or 0.0 for trial in found.log.trials)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("inlin", BadRequest, r"No executor is called 'inlin'\. Did you mean 'inline'\? Known: inline, local, number, ray\."),
        ("number", PluginFailed, r"'number' of elsewhere is broken: 'number' is of type int\. Name a class or a function"),
    ],
)
@pytest.mark.usefixtures("happened")
def test_what_is_no_executor_is_refused_before_anything_is_read(
    name: str, error: type[Exception], words: str, workplace: Workplace
) -> None:
    with pytest.raises(error, match=words):
        compare_request(CompareRequest(("popularity",), ("demo",), executor=name), workplace, lambda _: None)
    with pytest.raises(error, match=words):
        tune_request(TuneRequest("item-knn", "demo", executor=name), workplace)
    assert not workplace.home.exists()
