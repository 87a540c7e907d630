import csv
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbench import registry
from recbench.core import BadRequest, SplitMismatch
from recbench.core.records import read_record
from recbench.running.after.loaded import LoadedRun, export_lists
from recbench.running.after.reproduce import reproduce
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request
from recbench.running.run.folders import find_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, Path]:
    root = tmp_path_factory.mktemp("finished")
    workplace = Workplace(root / "home", None, root / "runs", root / "leaderboards")
    outcome = run_request(RunRequest("last-item-markov", "demo", threads=1), workplace)
    assert outcome is not None
    return workplace, outcome.folder


def _open(folder: Path) -> LoadedRun:
    return LoadedRun.open(folder, registry.models().load("last-item-markov"))


def test_recommends_titled_items_outside_the_history(finished: tuple[Workplace, Path]) -> None:
    run = _open(finished[1])
    history = [run.item_ids[4], run.item_ids[9]]
    found = run.recommend(history, k=7)
    assert len(found) == 7
    assert not set(history) & {line.item_id for line in found}
    assert all(line.title for line in found)
    assert [line.score for line in found] == sorted((line.score for line in found), reverse=True)


def test_the_view_keep_may_repeat_the_history(finished: tuple[Workplace, Path]) -> None:
    run = _open(finished[1])
    everything = run.recommend([run.item_ids[0]], k=len(run.item_ids), view="keep")
    assert {line.item_id for line in everything} == set(run.item_ids)


def test_more_items_than_there_are(finished: tuple[Workplace, Path]) -> None:
    run = _open(finished[1])
    assert len(run.recommend([run.item_ids[0]], k=10_000)) == len(run.item_ids) - 1


@pytest.mark.parametrize(("history", "k", "words"), [(["no-such-item"], 5, "no-such-item"), ([], 0, "--k 0")])
def test_impossible_questions_are_sentences(finished: tuple[Workplace, Path], history: list[str], k: int, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        _open(finished[1]).recommend(history, k)


def test_an_unknown_item_is_answered_with_some_that_exist(finished: tuple[Workplace, Path]) -> None:
    run = _open(finished[1])
    with pytest.raises(BadRequest, match=f"such as {', '.join(run.item_ids[:3])}:"):
        run.recommend(["no-such-item"])


def test_export_writes_every_test_user_once(finished: tuple[Workplace, Path], tmp_path: Path) -> None:
    workplace, folder = finished
    n_users = export_lists(folder, tmp_path / "lists.csv", workplace, k=5)
    with (tmp_path / "lists.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["user_id"] for row in rows}) == n_users
    assert len(rows) == 5 * n_users
    assert [row["rank"] for row in rows[:5]] == ["1", "2", "3", "4", "5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists.csv"]


def test_a_run_recommends_where_its_data_set_and_cache_are_gone(finished: tuple[Workplace, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(finished[1], moved)
    script = f"import recbench; print(recbench.load({str(moved)!r}).recommend([], k=3)[0].item_id)"
    environment = {"RECBENCH_HOME": str(tmp_path / "empty"), "PATH": ""}
    found = subprocess.run([sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == _open(finished[1]).recommend([], k=1)[0].item_id
    assert not (tmp_path / "empty").exists()


def test_a_run_is_found_by_path_id_unique_start_and_last(finished: tuple[Workplace, Path]) -> None:
    workplace, folder = finished
    for name in (str(folder), str(folder / "record.json"), folder.name, folder.name[:12], "last"):
        assert find_run(name, workplace.runs, workplace.boards).resolve() == folder.resolve()
    with pytest.raises(BadRequest, match="list runs"):
        find_run("demo-nothing", workplace.runs, workplace.boards)


def test_a_published_record_without_its_model_says_how_to_make_it_again(finished: tuple[Workplace, Path], tmp_path: Path) -> None:
    shutil.copy(finished[1] / "record.json", tmp_path / "record.json")
    with pytest.raises(BadRequest, match="reproduce"):
        _open(tmp_path)


def test_settings_that_the_model_no_longer_has_are_a_sentence(finished: tuple[Workplace, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "old")
    record = read_record(folder / "record.json")
    (folder / "record.json").write_text(record.model_copy(update={"config": {"of_old": 1}}).to_json())
    with pytest.raises(BadRequest, match="of_old"):
        _open(folder)


def test_other_data_are_refused_before_any_training(finished: tuple[Workplace, Path], tmp_path: Path) -> None:
    workplace, folder = finished
    data = tmp_path / "other"
    data.mkdir()
    lines = ["user_id,item_id,timestamp"] + [f"u{u},i{(u + t) % 9},{t}" for u in range(12) for t in range(5)]
    (data / "interactions.csv").write_text("\n".join(lines) + "\n")
    before = sorted(workplace.runs.iterdir())
    with pytest.raises(SplitMismatch, match=r"data check .*other says what is here"):
        reproduce(folder, workplace, dataset=str(data))
    assert sorted(workplace.runs.iterdir()) == before
    with pytest.raises(SplitMismatch):
        export_lists(folder, tmp_path / "lists.csv", workplace, dataset=str(data))
    assert not (tmp_path / "lists.csv").exists()


def test_what_a_killed_run_left_is_swept_by_the_next(finished: tuple[Workplace, Path]) -> None:
    workplace, folder = finished
    stem = folder.name.rpartition("-")[0]
    leftover = workplace.runs / f".writing-{stem}-{platform.node()}-999999999"
    leftover.mkdir()
    outcome = run_request(RunRequest("last-item-markov", "demo", threads=1, again=True), workplace)
    assert outcome is not None
    assert not leftover.exists()
