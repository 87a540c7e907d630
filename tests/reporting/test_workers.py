"""Figures computed in several processes: the same reports and pages as in one, in the same order."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import BadData, StageFailed
from recbench.reporting import StoredRun, inspect_boards, publish
from recbench.reporting.workers import MeanJob, MeasureJob, Workers


@pytest.fixture(autouse=True)
def few_records_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.reporting.workers.RECORDS_PER_PROCESS", 1)


def test_two_processes_find_the_faults_that_one_finds(published_boards: Path, cards: Any, tmp_path: Path, reseal: Any) -> None:
    boards = Path(shutil.copytree(published_boards, tmp_path / "boards"))
    folders = sorted(path for path in (boards / "records").iterdir() if path.name != "shared")
    record = folders[1] / "record.json"
    record.write_text(reseal(record.read_text().replace('"n_cold": ', '"n_cold": 1', 1)))
    (folders[2] / "ranks.parquet").write_bytes(b"no table")
    (folders[3] / "record.json").write_text("{}")
    alone, together = inspect_boards(boards, cards), inspect_boards(boards, cards, jobs=2)
    assert len(alone.faults) > 3
    assert together == alone


def test_two_processes_write_the_pages_that_one_writes(workshop: Any, cards: Any, tmp_path: Path) -> None:
    runs = [*(workshop.run(seed=seed, skill=0.2 + 0.1 * seed) for seed in range(2)), workshop.trivial()]
    alone, together = tmp_path / "alone", tmp_path / "together"
    publish(alone, runs, cards)
    publish(together, runs, cards, jobs=2)
    pages = {page.name: page.read_bytes() for page in alone.glob("*.*")}
    assert pages == {page.name: page.read_bytes() for page in together.glob("*.*")}
    assert len(pages) == 3


def test_answers_come_in_the_order_of_the_jobs_and_an_error_in_its_place(workshop: Any) -> None:
    runs = [StoredRun.open(workshop.run(seed=number, split=number % 3)) for number in range(12)]
    (runs[7].folder / "ranks.parquet").write_bytes(b"no table")
    jobs = [MeanJob(runs=(run.files,), metric="ndcg@10", view="keep") for run in runs]
    expected = [run.record.metrics["keep"]["ndcg@10"].value for run in runs[:7]]
    with Workers(2, len(runs)) as workers:
        answers = workers.answers(jobs)
        assert [next(answers) for _ in range(7)] == pytest.approx(expected)
        with pytest.raises(BadData, match="is damaged"):
            next(answers)
        # What was left undone disturbs nobody.
        (measured,) = workers.answers([MeasureJob(run=runs[0].files)])
        assert measured.metrics == runs[0].record.metrics


def test_a_process_that_ends_early_is_told(workshop: Any) -> None:
    run = StoredRun.open(workshop.run())
    with Workers(2, 2) as workers:
        for process in workers._processes:
            process._process.kill()
        with pytest.raises(StageFailed, match="ended early, with status"):
            list(workers.answers([MeasureJob(run=run.files)]))
