"""Figures of published records measured anew: after another evaluator made them, and only then."""

import json
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import BadData, VerifyFailed
from recbench.core.records import CodePart, read_record
from recbench.reporting import publish, remeasure, remeasure_runs, verify

CODE = CodePart(version="9.9", commit="c0ffee0" + 33 * "0", is_dirty=False)


@pytest.fixture
def outdated(workshop: Any, cards: Any, tmp_path: Path, reseal: Any) -> tuple[Path, list[Path]]:
    """Boards published by an evaluator that drew other intervals, lacked a metric and counted one wrongly; and their runs."""
    runs = [workshop.run(seed=seed) for seed in range(2)] + [workshop.trivial()]
    boards = tmp_path / "boards"
    publish(boards, runs, cards)
    for run in runs:
        record = json.loads((run / "record.json").read_text())
        figures = record["metrics"]["keep"]
        figures["ndcg@10"]["low"] -= 0.25 * (figures["ndcg@10"]["high"] - figures["ndcg@10"]["low"])
        figures["mrr@10"]["value"] *= 1.5
        del figures["mrr@5"]
        record["beyond"]["keep"]["gini@10"] += 0.125
        record["schema_version"] = 1
        for folder in (run, boards / "records" / run.name):
            (folder / "record.json").write_text(reseal(json.dumps(record)))
    for page in boards.glob("*.*"):
        page.unlink()
    publish(boards, [], cards)
    return boards, runs


def test_every_figure_follows_from_the_ranks_again(outdated: tuple[Path, list[Path]], cards: Any) -> None:
    boards, runs = outdated
    with pytest.raises(VerifyFailed, match="recbench leaderboard remeasure"):
        verify(boards, cards)
    done = remeasure(boards, cards, CODE)
    verify(boards, cards)
    assert (done.n_records, done.n_values, done.n_ends) == (3, 9, 3)
    assert done.largest == pytest.approx(0.25)
    assert {path.name for path in done.written} == {"record.json", "toy.md", "index.md", "index.html"}
    assert "; figures: 9.9 (c0ffee00)" in (boards / "toy.md").read_text()
    for run in runs:
        before, after = read_record(run / "record.json"), read_record(boards / "records" / run.name / "record.json")
        assert after.remeasured == CODE
        assert after.code == before.code
        assert (before.schema_version, after.schema_version) == (1, 3)
        figures = {"schema_version", "metrics", "slices", "beyond", "remeasured"}
        assert after.model_dump(exclude=figures) == before.model_dump(exclude=figures)

    again = remeasure(boards, cards, CODE.model_copy(update={"version": "10"}))
    assert (again.written, again.n_values, again.n_ends, again.largest) == ((), 0, 0, 0.0)
    assert [skipped.reason for skipped in publish(boards, runs, cards).skipped] == ["published already"] * 3


def test_a_record_that_was_edited_or_lost_its_ranks_is_refused_and_nothing_is_written(
    outdated: tuple[Path, list[Path]], cards: Any, reseal: Any
) -> None:
    boards, runs = outdated
    path = boards / "records" / runs[0].name / "record.json"
    text = path.read_text()
    before = {file: file.read_bytes() for file in boards.rglob("*") if file.is_file() and file != path}
    path.write_text(reseal(text.replace('"seed": 0', '"seed": 7')))
    with pytest.raises(VerifyFailed, match="was edited"):
        remeasure(boards, cards, CODE)
    path.write_text(text)
    (path.parent / "ranks.parquet").write_bytes(b"other")
    with pytest.raises(BadData, match=r"ranks\.parquet"):
        remeasure(boards, cards, CODE)
    assert all(
        file.read_bytes() == content for file, content in before.items() if file.name != "ranks.parquet" or file.parent != path.parent
    )


def test_runs_of_an_older_evaluator_are_published_once_measured_anew(outdated: tuple[Path, list[Path]], cards: Any, tmp_path: Path) -> None:
    _, runs = outdated
    (left_out,) = {skipped.is_fault for skipped in publish(tmp_path / "fresh", runs, cards).skipped}
    assert left_out
    (runs[0].parent / "unfinished").mkdir()
    done = remeasure_runs(runs[0].parent, CODE)
    assert (done.n_records, done.n_values, len(done.written)) == (3, 9, 3)
    assert publish(tmp_path / "fresh", runs, cards).skipped == ()
    assert remeasure_runs(runs[0].parent, CODE).written == ()
