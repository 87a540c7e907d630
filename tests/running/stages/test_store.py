import errno
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recbench.core.elapsed import Elapsed
from recbench.core.errors import BadData, BadRequest
from recbench.core.plugin import CurvePoint, FitReport
from recbench.core.records import StagePart
from recbench.running.run.training import read_report, write_report
from recbench.running.stages.build_time import AttemptClock
from recbench.running.stages.store import StageStore, cache_entries, clean_cache


def _write(text: str):
    def build(folder: Path) -> None:
        (folder / "result.txt").write_text(text)

    return build


def test_a_stage_is_built_once_and_found_again(tmp_path: Path) -> None:
    calls = []
    store = StageStore(tmp_path / "stages")

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "result.txt").write_text("x")

    first = store.get("codes", {"k": 1}, build)
    second = StageStore(tmp_path / "stages").get("codes", {"k": 1}, build)
    assert len(calls) == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.folder == second.folder
    assert second.seconds == first.seconds > 0
    assert second.peak_memory_bytes > 1_000_000


def test_another_setting_is_another_stage(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stages")
    folders = {store.get("codes", {"k": k}, _write(str(k))).folder for k in range(3)} | {store.get("other", {"k": 1}, _write("o")).folder}
    assert len(folders) == 4


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stages")

    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.get("codes", {}, fail)
    assert [path for path in (tmp_path / "stages").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert store.get("codes", {}, _write("whole")).reused is False


def test_processes_of_a_group_note_their_time_in_one_folder(tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    first, second = AttemptClock(partial), AttemptClock(partial)
    stop = threading.Event()

    def note(clock: AttemptClock, errors: list[Exception]) -> None:
        try:
            while not stop.is_set():
                clock.note(Elapsed(2.0, 1.0))
        except Exception as error:
            errors.append(error)

    errors: list[Exception] = []
    threads = [threading.Thread(target=note, args=(clock, errors)) for clock in (first, second)]
    for thread in threads:
        thread.start()
    # Whoever is done first removes the folder, and comes back for another attempt.
    for _ in range(30):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(exist_ok=True)
        time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    first.note(Elapsed(2.0, 1.0))
    assert AttemptClock(partial).before == Elapsed(2.0, 1.0)


@pytest.mark.parametrize("damage", ["edit", "remove", "cut", "manifest"])
def test_a_damaged_stage_is_set_aside_and_rebuilt(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = StageStore(tmp_path / "stages")
    folder = store.get("codes", {}, _write("content")).folder
    file = folder / ("manifest.json" if damage == "manifest" else "result.txt")
    if damage == "remove":
        file.unlink()
    else:
        file.write_text({"edit": "CONTENT", "cut": "con", "manifest": "{"}[damage])
    again = StageStore(tmp_path / "stages").get("codes", {}, _write("content"))
    assert again.reused is False
    assert (again.folder / "result.txt").read_text() == "content"
    assert "damaged" in caplog.text
    assert sorted(entry.kind for entry in cache_entries(tmp_path)) == ["codes", "damaged"]


@pytest.mark.parametrize(
    "damage", ['{"seconds": -1e9}', '{"seconds": NaN}', '{"seconds": 1e999}', '{"seconds": "x"}', "{}", "[]", "garbage", "[" * 9_999, None]
)
def test_what_earlier_attempts_took_is_checked(tmp_path: Path, damage: str | None, caplog: pytest.LogCaptureFixture) -> None:
    store = StageStore(tmp_path / "stages")
    key = store.key("codes", {})
    kept = store.partial("codes", key)
    kept.mkdir(parents=True)
    attempts = kept / "attempts.json"
    if damage is None:
        attempts.mkdir()
    else:
        attempts.write_text(damage)
    stage = store.get("codes", {}, _write("x"))
    assert 0 < stage.seconds < 60
    assert "attempts.json is damaged" in caplog.text


@pytest.mark.parametrize(
    ("file", "value", "damage"),
    [
        ("report.json", '"steps": 3', '"steps": -3'),
        ("report.json", '"epochs": 0.5', '"epochs": NaN'),
        ("report.json", '"curve"', '"carve"'),
        ("times.json", "[1.0]", "[NaN]"),
        ("times.json", "[1.0]", "[1.0, 2.0]"),
        ("times.json", '"seconds": 2.0', '"seconds": -2.0'),
        ("times.json", '"peak_memory_bytes": 5', '"peak_memory_bytes": -5'),
    ],
)
def test_the_report_of_a_training_is_checked_as_it_is_read(tmp_path: Path, file: str, value: str, damage: str) -> None:
    lineage = [StagePart(name="split", key="k", seconds=2.0, peak_memory_bytes=5, reused=False)]
    report = FitReport(steps=3, epochs=0.5, curve=[CurvePoint(3, 0.5, 1.0, loss=0.25)])
    write_report(report, lineage, tmp_path)
    assert read_report(tmp_path, "sasrec") == (report, lineage)
    text = (tmp_path / file).read_text()
    assert value in text
    (tmp_path / file).write_text(text.replace(value, damage))
    with pytest.raises(BadData, match=r"\.json is damaged: .*Delete the folder .*; it is built again\.$"):
        read_report(tmp_path, "sasrec")


def test_too_few_file_handles_are_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StageStore(tmp_path / "stages").get("codes", {}, _write("content")).folder

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            StageStore(tmp_path / "stages").get("codes", {}, _write("content"))
    assert folder.is_dir()
    assert StageStore(tmp_path / "stages").get("codes", {}, _write("content")).reused


def test_rerun_computes_a_stage_once_more_and_only_once(tmp_path: Path) -> None:
    StageStore(tmp_path / "stages").get("codes", {}, _write("old"))
    store = StageStore(tmp_path / "stages", rerun=("codes",))
    assert (store.get("codes", {}, _write("new")).folder / "result.txt").read_text() == "new"
    assert store.get("codes", {}, _write("newer")).reused


_WORKER = """
import sys, time
from pathlib import Path
from recbench.running.stages.store import StageStore

root, counter = Path(sys.argv[1]), Path(sys.argv[2])

def build(folder):
    with counter.open("a") as stream:
        stream.write("x")
    time.sleep(0.5)
    (folder / "result.txt").write_text("one")

print("ready", flush=True)
sys.stdin.readline()
print(StageStore(root).get("codes", {"k": 1}, build).folder.joinpath("result.txt").read_text())
"""


def test_two_processes_compute_a_stage_exactly_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    command = [sys.executable, "-c", _WORKER, str(tmp_path / "stages"), str(counter)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outputs = [worker.communicate()[0] for worker in workers]
    assert outputs == ["one\n", "one\n"]
    assert counter.read_text() == "x"


def test_what_a_killed_process_left_half_written_is_thrown_away(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stages")
    key_folder = store.get("codes", {}, _write("x")).folder
    half = key_folder.with_name(f".building-{key_folder.name}")
    key_folder.rename(half)
    (half / "leftover.txt").write_text("y")
    again = store.get("codes", {}, _write("x"))
    assert sorted(path.name for path in again.folder.iterdir()) == ["manifest.json", "result.txt"]


def test_clean_removes_by_kind_and_leaves_what_is_in_use(tmp_path: Path) -> None:
    StageStore(tmp_path / "stages").get("codes", {}, _write("c"))
    started, release = threading.Event(), threading.Event()

    def slow(folder: Path) -> None:
        _write("v")(folder)
        started.set()
        release.wait(10)

    StageStore(tmp_path / "stages").get("vectors", {}, _write("v"))
    worker = threading.Thread(target=lambda: StageStore(tmp_path / "stages", rerun=("vectors",)).get("vectors", {}, slow))
    worker.start()
    started.wait(10)
    assert [entry.kind for entry in clean_cache(tmp_path, ("codes",))] == ["codes"]
    release.set()
    worker.join()
    assert [entry.kind for entry in cache_entries(tmp_path)] == ["vectors"]
    assert [entry.kind for entry in clean_cache(tmp_path)] == ["vectors"]
    with pytest.raises(BadRequest, match="vektors"):
        clean_cache(tmp_path, ("vektors",))


def test_downloads_are_listed_and_go_only_when_named(tmp_path: Path) -> None:
    StageStore(tmp_path / "stages").get("codes", {}, _write("c"))
    download = tmp_path / "datasets" / "films"
    download.mkdir(parents=True)
    (download / "films.zip").write_text("zip")
    assert sorted(entry.kind for entry in cache_entries(tmp_path)) == ["codes", "download"]
    assert [entry.kind for entry in clean_cache(tmp_path)] == ["codes"]
    assert [entry.name for entry in clean_cache(tmp_path, ("download",))] == ["films"]
    assert not download.exists()


def test_clean_leaves_a_finished_stage_that_a_run_still_reads(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stages")
    folder = store.get("codes", {}, _write("c")).folder
    assert clean_cache(tmp_path) == []
    assert folder.exists()
    del store
    assert [entry.kind for entry in clean_cache(tmp_path)] == ["codes"]
