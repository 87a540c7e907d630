"""Publishing: what is copied, what is refused, and that equal records give equal bytes."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import BadData, SplitMismatch, VerifyFailed
from recbench.core.latency import LATENCY_FILE, BatchLatency, Latency, read_latency
from recbench.reporting import publish, verify


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_pages_an_index_and_the_small_files_are_written(workshop: Any, cards: Any, tmp_path: Path) -> None:
    run = workshop.run()
    (run / "model").mkdir()
    (run / "model" / "weights.safetensors").write_bytes(b"large")
    (run / "log.txt").write_text("long")
    result = publish(tmp_path / "boards", [run], cards)
    names = set(content(tmp_path / "boards"))
    own = {f"records/{run.name}/{name}" for name in ("record.json", "ranks.parquet", "exposure.parquet", "curve.csv")}
    shared = {name for name in names if name.startswith("records/shared/")}
    assert names == {"toy.md", "index.md", "index.html"} | own | shared
    assert len(shared) == 2
    assert {str(path.relative_to(tmp_path / "boards")) for path in result.written} == names
    assert (tmp_path / "boards/records" / run.name / "record.json").read_bytes() == (run / "record.json").read_bytes()


def test_publishing_twice_changes_nothing(workshop: Any, cards: Any, tmp_path: Path) -> None:
    runs = [workshop.run(), workshop.trivial()]
    publish(tmp_path / "boards", runs, cards)
    before = content(tmp_path / "boards")
    again = publish(tmp_path / "boards", runs, cards)
    assert content(tmp_path / "boards") == before
    assert not again.written
    assert {path.name for path in again.unchanged} == {"toy.md", "index.md", "index.html"}
    assert [skipped.reason for skipped in again.skipped] == ["published already"] * 2


def test_order_and_steps_of_publishing_do_not_matter(workshop: Any, cards: Any, tmp_path: Path) -> None:
    runs = [workshop.run(seed=seed) for seed in range(3)] + [workshop.trivial(), workshop.run("sasrec", "cpu", skill=0.2)]
    publish(tmp_path / "at once", runs, cards)
    for run in reversed(runs):
        publish(tmp_path / "one by one", [run], dict(reversed(cards.items())))
    assert content(tmp_path / "at once") == content(tmp_path / "one by one")


def test_runs_on_one_split_share_their_facts(workshop: Any, cards: Any, tmp_path: Path) -> None:
    publish(tmp_path, [workshop.run(seed=seed) for seed in range(3)], cards)
    assert len(list((tmp_path / "records" / "shared").iterdir())) == 2


def test_what_cannot_be_published_is_skipped_with_a_reason(workshop: Any, cards: Any, tmp_path: Path) -> None:
    synthetic = workshop.run(dataset={"name": "demo", "is_synthetic": True})
    failed = workshop.runs / "failed"
    failed.mkdir()
    (failed / "failure.json").write_text("{}")
    empty = workshop.runs / "empty"
    empty.mkdir()
    damaged = workshop.run(seed=1)
    (damaged / "exposure.parquet").write_bytes(b"cut off")
    incomplete = workshop.run(seed=2)
    (incomplete / "ranks.parquet").unlink()
    outside = workshop.run(seed=3, run_id="x", dataset={"name": "../elsewhere"})
    no_file = workshop.runs / "no-file"
    (no_file / "record.json").mkdir(parents=True)
    folders = [synthetic, failed, empty, damaged, incomplete, outside, no_file]
    result = publish(tmp_path / "boards", folders, cards)
    reasons = {skipped.folder: skipped.reason for skipped in result.skipped}
    assert set(reasons) == set(folders)
    assert "synthetic" in reasons[synthetic]
    assert "failure.json" in reasons[failed]
    assert "not finished" in reasons[empty]
    assert "exposure.parquet" in reasons[damaged]
    assert "sha256" in reasons[damaged]
    assert "ranks.parquet" in reasons[incomplete]
    assert "file name" in reasons[outside]
    assert "cannot be read" in reasons[no_file]
    assert [skipped.folder for skipped in result.skipped if not skipped.is_fault] == sorted([synthetic, failed, empty])
    assert set(content(tmp_path / "boards")) == {"index.md", "index.html"}


def test_records_of_different_splits_are_refused_and_nothing_is_written(workshop: Any, cards: Any, tmp_path: Path) -> None:
    first, second = workshop.run(), workshop.run(split=1)
    with pytest.raises(SplitMismatch) as error:
        publish(tmp_path / "boards", [first, second], cards)
    prints = [json.loads((run / "record.json").read_text())["fingerprints"]["test"][:16] for run in (first, second)]
    for part in (first.name, second.name, *prints):
        assert part in str(error.value)
    assert not (tmp_path / "boards").exists()


def test_models_that_read_other_texts_are_refused(workshop: Any, cards: Any, tmp_path: Path) -> None:
    reads = {"reads_text": True}
    runs = [workshop.run("a", model=reads), workshop.run("b", model=reads, fingerprints={"item_text": "f" * 64})]
    with pytest.raises(SplitMismatch, match="item texts differ"):
        publish(tmp_path, runs, cards)


def test_other_texts_do_not_matter_to_models_that_do_not_read(workshop: Any, cards: Any, tmp_path: Path) -> None:
    publish(tmp_path, [workshop.run("a"), workshop.run("b", fingerprints={"item_text": "f" * 64})], cards)
    assert (tmp_path / "toy.md").is_file()


def test_an_edited_record_is_not_laundered(workshop: Any, cards: Any, tmp_path: Path, reseal: Any) -> None:
    run = workshop.run()
    publish(tmp_path, [run], cards)
    record = tmp_path / "records" / run.name / "record.json"
    record.write_text(reseal(record.read_text().replace('"train_s": 12.5', '"train_s": 11.5')))
    before = content(tmp_path)
    with pytest.raises(VerifyFailed, match=r"record\.json was edited"):
        publish(tmp_path, [], cards)
    assert content(tmp_path) == before
    (tmp_path / "toy.md").unlink()
    with pytest.raises(VerifyFailed, match=r"record\.json was edited: .*, index\.html line \d+ says"):
        publish(tmp_path, [], cards)


def test_a_damaged_published_file_stops_publishing(workshop: Any, cards: Any, tmp_path: Path) -> None:
    run = workshop.run()
    boards = tmp_path / "boards"
    publish(boards, [run], cards)
    (boards / "records" / run.name / "ranks.parquet").write_bytes(b"")
    before = content(boards)
    with pytest.raises(BadData, match=r"ranks\.parquet"):
        publish(boards, [workshop.run(seed=1)], cards)
    assert content(boards) == before


def test_a_page_without_records_goes_and_foreign_pages_stay(workshop: Any, cards: Any, tmp_path: Path) -> None:
    run = workshop.run()
    publish(tmp_path, [run], cards)
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "notes.html").write_text("<!doctype html>")
    for path in (tmp_path / "records" / run.name).iterdir():
        path.unlink()
    (tmp_path / "records" / run.name).rmdir()
    result = publish(tmp_path, [], cards)
    assert [path.name for path in result.removed] == ["toy.md"]
    assert (tmp_path / "notes.md").read_text() == "mine"
    assert (tmp_path / "notes.html").is_file()
    for name in ("index.md", "index.html"):
        assert "There is no record yet" in (tmp_path / name).read_text()
    assert "such as `demo`, are not published" in (tmp_path / "index.md").read_text()
    assert run.name not in (tmp_path / "index.html").read_text()


def test_another_record_of_a_published_name_is_skipped(workshop: Any, cards: Any, tmp_path: Path) -> None:
    publish(tmp_path, [workshop.run(run_id="same")], cards)
    workshop.runs = tmp_path / "others"
    result = publish(tmp_path, [workshop.run(run_id="same", seed=4)], cards)
    assert "another record called same" in result.skipped[0].reason


def times_of(run: Path, *, p50_ms: float, year: int = 2026) -> Latency:
    return Latency(
        run_id=run.name,
        row_name="popularity",
        dataset="beauty",
        measured=datetime(year, 1, 1, tzinfo=UTC),
        code="1.0",
        machine="cpu",
        k=10,
        view="unseen",
        n_users=20,
        batches=(BatchLatency(batch=1, n_calls=20, users_per_s=500.0, p50_ms=p50_ms, p95_ms=4.0, p99_ms=None),),
    )


def test_the_newest_times_of_a_run_count(workshop: Any, cards: Any, tmp_path: Path) -> None:
    boards, run = tmp_path / "boards", workshop.run("popularity", "default")
    publish(boards, [run], cards)
    there = boards / "records" / run.name / LATENCY_FILE
    copy = run.with_name(f"{run.name}-copy")
    shutil.copytree(run, copy)
    new = times_of(run, p50_ms=2.0)
    (run / LATENCY_FILE).write_text(new.to_json())
    # The copy comes last and holds none.
    publish(boards, [run, copy], cards)
    assert read_latency(there, run.name) == new
    (copy / LATENCY_FILE).write_text(times_of(run, p50_ms=3.0, year=2025).to_json())
    publish(boards, [copy], cards)
    assert read_latency(there, run.name) == new


@pytest.mark.parametrize("content", ["{", "[" * 100_000, None], ids=["cut", "deep", "folder"])
def test_a_run_whose_times_cannot_be_read_stops_no_other(workshop: Any, cards: Any, tmp_path: Path, content: str | None) -> None:
    boards, bad, good = tmp_path / "boards", workshop.run("popularity", "default"), workshop.run("sasrec", "paper")
    if content is None:
        (bad / LATENCY_FILE).mkdir()
    else:
        (bad / LATENCY_FILE).write_text(content)
    (skipped,) = publish(boards, [bad, good], cards).skipped
    assert (skipped.folder, skipped.is_fault) == (bad, True)
    assert "latency.json" in skipped.reason
    assert (boards / "records" / good.name).is_dir()


def test_times_measured_after_publishing_reach_the_boards(workshop: Any, cards: Any, tmp_path: Path) -> None:
    boards, run = tmp_path / "boards", workshop.run("popularity", "default")
    assert publish(boards, [run], cards).skipped == ()
    there = boards / "records" / run.name / LATENCY_FILE
    assert not there.exists()
    for p50_ms in (2.0, 3.0):
        found = times_of(run, p50_ms=p50_ms)
        (run / LATENCY_FILE).write_text(found.to_json())
        assert there in publish(boards, [run], cards).written
        assert read_latency(there, run.name) == found
        assert there not in publish(boards, [run], cards).written
    # The boards keep what they have when the run's folder is gone.
    assert publish(boards, [], cards).written == ()
    there.write_text("{")
    with pytest.raises(BadData, match=r"latency.json: not valid JSON.*recbench latency"):
        publish(boards, [], cards)
    with pytest.raises(VerifyFailed, match=r"1 fault:\n.*latency.json: not valid JSON"):
        verify(boards, cards)
