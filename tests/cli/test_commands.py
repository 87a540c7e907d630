"""Every command once on the synthetic data set: results on stdout, all else on stderr, `--json` for machines."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.cli.compare import cell_table
from recbench.running.requests import Cell
from recbench.running.upkeep.doctor import check_installation


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A working folder with two finished runs, and a function that gives commands there."""
    folder = tmp_path_factory.mktemp("work")
    home = tmp_path_factory.mktemp("home")

    def give(*arguments: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("RECBENCH_HOME", str(home))
            patch.delenv("RECBENCH_DATA", raising=False)
            return CliRunner().invoke(app, list(arguments), prog_name="recbench")

    give.folder = folder  # type: ignore[attr-defined]
    for model in ("random", "popularity"):
        done = give("run", "-m", model, "-d", "demo")
        assert done.exit_code == 0, done.stderr
    return give


def test_run_shows_a_table_and_where_the_record_is(finished: Any) -> None:
    done = finished("run", "-m", "popularity", "-d", "demo")
    assert done.exit_code == 0
    assert "NDCG@10" in done.stdout
    label, folder = done.stdout.splitlines()[-1].split(" ", 1)
    assert label == "record:"
    assert (finished.folder / folder / "record.json").is_file()
    assert "this run is finished" in done.stderr
    assert "this run is finished" not in done.stdout


def test_run_again_makes_a_new_record(finished: Any) -> None:
    first = json.loads(finished("run", "-m", "popularity", "-d", "demo", "--json").stdout)
    second = json.loads(finished("run", "-m", "popularity", "-d", "demo", "--json", "--again").stdout)
    assert not first["is_new"]
    assert second["is_new"]
    assert first["record"]["metrics"] == second["record"]["metrics"]
    assert first["folder"] != second["folder"]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "-m", "popularity", "-d", "demo"),
        ("list", "models"),
        ("list", "datasets"),
        ("list", "runs"),
        ("show", "last"),
        ("diff", "demo-popularity-default-s0", "demo-random-default-s0"),
        ("recommend", "last", "--history", "item-0001,item-0002"),
        ("reproduce", "demo-random"),
        ("doctor",),
        ("data", "fetch", "demo"),
        ("data", "stats", "demo"),
        ("data", "shortcuts", "demo"),
        ("data", "check", "demo"),
        ("cache", "ls"),
        ("cache", "size"),
        ("leaderboard", "publish"),
    ],
    ids=" ".join,
)
def test_a_command_prints_a_result_for_people_and_one_for_machines(finished: Any, words: tuple[str, ...]) -> None:
    if "demo-popularity-default-s0" in words:
        runs = [row["run"] for row in json.loads(finished("list", "runs", "--json").stdout)]
        words = ("diff", *(next(run for run in runs if run.startswith(word)) for word in words[1:]))
    if words[0] == "reproduce":
        words = ("reproduce", next(row["run"] for row in json.loads(finished("list", "runs", "--json").stdout) if "random" in row["run"]))
    people = finished(*words)
    assert people.exit_code == 0, people.output
    assert people.stdout.strip()
    machines = finished(*words, "--json")
    assert machines.exit_code == 0, machines.stderr
    json.loads(machines.stdout)


def test_list_models_knows_all_of_them_and_none_is_broken(finished: Any) -> None:
    rows = json.loads(finished("list", "models", "--json").stdout)
    assert {"random", "popularity", "recent-popularity", "last-item-markov", "item-knn", "ease", "text-knn", "sasrec"} <= {
        row["name"] for row in rows
    }
    assert [row["broken"] for row in rows if row["broken"]] == []
    assert {row["distribution"] for row in rows} == {"genrecbench"}


def test_list_datasets_knows_all_of_them(finished: Any) -> None:
    rows = json.loads(finished("list", "datasets", "--json").stdout)
    wanted = "demo ml-100k ml-1m beauty sports toys yelp games instruments industrial office lastfm amazon-books pixel200k pixel1m pixel8m"
    assert set(wanted.split()) <= {row["name"] for row in rows}


@pytest.mark.slow
def test_compare_runs_what_is_missing_and_tests_in_pairs(finished: Any) -> None:
    done = finished("compare", "-m", "random,popularity", "-d", "demo", "--plot", "--json", "--threads", "1")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [cell["state"] for cell in answer["cells"]] == ["done", "done"]
    (test,) = answer["tests"]["demo"]
    assert (test["best"], test["other"]) == ("popularity:default", "random:default")
    assert test["difference"]["low"] <= test["difference"]["value"] <= test["difference"]["high"]
    assert (finished.folder / "runs" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    table = finished("compare", "-m", "random,popularity", "-d", "demo", "--threads", "1")
    assert "NDCG@10" in table.stdout
    assert "done" in table.stderr


def test_a_damaged_record_hides_no_other_run(finished: Any) -> None:
    command = ("run", "-m", "popularity", "-d", "demo", "--json")
    newest = json.loads(finished(*command, "--again").stdout)["folder"]
    runs = finished.folder / "runs"
    damaged = [runs / (Path(newest).name.rpartition("-")[0] + "-99"), runs / "a-folder", runs / "a-failure"]
    try:
        for folder in damaged:
            folder.mkdir()
        (damaged[0] / "record.json").write_text("")
        (damaged[1] / "record.json").mkdir()
        (damaged[2] / "failure.json").write_text("garbage")
        listed = finished("list", "runs", "--json")
        assert listed.exit_code == 0, listed.stderr
        rows = {row["run"]: row for row in json.loads(listed.stdout)}
        assert rows[Path(newest).name]["record"]
        assert "not valid JSON" in rows[damaged[0].name]["damage"]
        assert "Is a directory" in rows["a-folder"]["damage"]
        assert rows["a-failure"]["failure"] == "failure.json cannot be read"
        table = finished("list", "runs").stdout
        assert "damaged" in table
        assert "popularity" in table
        for asked in (("show", "last", "--json"), command):
            done = finished(*asked)
            assert done.exit_code == 0, done.stderr
            assert "left out: " in done.stderr
            assert Path(json.loads(done.stdout)["folder"]).name == Path(newest).name
        planned = finished("plan", "-m", "popularity", "-d", "demo", "--json")
        assert planned.exit_code == 0, planned.stderr
        assert Path(newest).name in json.loads(planned.stdout)["basis"]
    finally:
        for folder in damaged:
            shutil.rmtree(folder)


def test_show_plots_into_the_runs_folder(finished: Any) -> None:
    done = finished("show", "demo-random", "--plot", "--json")
    if done.exit_code == 2:  # several random runs by now
        run = next(row["run"] for row in json.loads(finished("list", "runs", "--json").stdout) if "random" in row["run"])
        done = finished("show", run, "--plot", "--json")
    picture = finished.folder / json.loads(done.stdout)["plot"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_recommend_leaves_the_history_out_and_gives_titles(finished: Any) -> None:
    run = next(row["run"] for row in json.loads(finished("list", "runs", "--json").stdout) if "popularity" in row["run"])
    done = finished("recommend", run, "--history", "item-0001,item-0002", "--k", "5", "--json")
    items = json.loads(done.stdout)
    assert len(items) == 5
    assert not {"item-0001", "item-0002"} & {item["item_id"] for item in items}
    assert all(item["title"] for item in items)
    shown = finished("recommend", run, "--history", "item-0001", "--k", "2").stdout
    assert f"popularity:default on demo, run {run}" in " ".join(shown.split())
    unknown = finished("recommend", run, "--history", "item-9999")
    assert unknown.exit_code == 2
    assert "item-9999" in unknown.stderr


def test_recommend_exports_all_test_users(finished: Any) -> None:
    run = next(row["run"] for row in json.loads(finished("list", "runs", "--json").stdout) if "popularity" in row["run"])
    done = finished("recommend", run, "--export", "lists.csv", "--k", "3", "--json")
    assert done.exit_code == 0, done.stderr
    lines = (finished.folder / "lists.csv").read_text().splitlines()
    assert lines[0] == "user_id,rank,item_id,score"
    assert len(lines) == 1 + 3 * json.loads(done.stdout)["n_users"]
    nowhere = finished("recommend", run, "--export", "no/such/folder.csv")
    assert nowhere.exit_code == 2
    assert "no folder" in nowhere.stderr


def test_synthetic_data_never_reach_a_board(finished: Any) -> None:
    done = finished("leaderboard", "publish", "--json")
    reasons = [skipped["reason"] for skipped in json.loads(done.stdout)["skipped"]]
    assert reasons
    assert all("synthetic" in reason for reason in reasons)
    assert not list((finished.folder / "leaderboards").glob("demo*"))


def test_cache_clean_removes_one_kind_or_all(finished: Any) -> None:
    kinds = json.loads(finished("cache", "size", "--json").stdout)["kinds"]
    assert {"dataset", "split", "ranking"} <= set(kinds)
    removed = json.loads(finished("cache", "clean", "ranking", "--json").stdout)
    assert removed["freed_bytes"] == kinds["ranking"]
    assert "ranking" not in json.loads(finished("cache", "size", "--json").stdout)["kinds"]
    assert "entries removed" in finished("cache", "clean").stdout
    assert json.loads(finished("cache", "ls", "--json").stdout) == []
    assert finished("show", next(row["run"] for row in json.loads(finished("list", "runs", "--json").stdout))).exit_code == 0


def test_doctor_finds_this_machine_ready(recbench: Any) -> None:
    checks = {check["name"]: check for check in recbench("doctor", "--json").json}
    assert checks["python"]["state"] == "ok"
    assert checks["torch"]["state"] == "ok"
    assert checks["plugins"]["state"] == "ok"
    assert checks["installation"]["state"] == "ok"
    assert recbench.listing() == {}


def test_doctor_finds_the_project_that_has_our_name_on_the_index() -> None:
    found = check_installation({"genrecbench": "1.0.0", "recbench": "0.0.1"}.get)
    assert found.state == "problem"
    assert "recbench 0.0.1" in found.found
    assert "pip uninstall recbench" in found.advice
    assert check_installation({"genrecbench": "1.0.0"}.get).state == "ok"


def test_doctor_says_which_data_are_missing(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_DATA", str(recbench.folder / "gone"))
    answer = recbench("doctor", "--json")
    assert answer.code == 1
    assert next(check for check in answer.json if check["name"] == "data sets")["state"] == "problem"


def test_the_live_table_shows_every_cell_on_a_line_of_its_own() -> None:
    from rich.console import Console

    cells = [
        Cell("alpha", None, "one", 0, "waiting"),
        Cell("beta", "tuned", "one", 1, "running", reason="training " + "x" * 300, seconds=30.0, left_s=70.0),
        Cell("beta", "tuned", "two", 0, "done", seconds=99.6),
        Cell("beta", "tuned", "two", 1, "done", seconds=3.2, is_new=False),
        Cell("gamma", None, "two", 0, "failed", reason="[it] broke", seconds=3.0),
    ]
    console = Console(width=100, file=io.StringIO())
    console.print(cell_table(cells, 4000.0))
    _, *lines, counts = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == len(cells)
    assert lines[0].split() == ["one", "alpha", "0", "waiting"]
    assert lines[1].split()[:8] == ["one", "beta:tuned", "1", "running", "30", "70", "s", "training"]
    assert lines[3].split()[3:] == ["done", "was", "finished", "before"]
    assert lines[4].split()[3:] == ["failed", "3", "[it]", "broke"]
    assert counts.strip() == "1 waiting, 1 running, 2 done, 1 failed; 1 h 7 min"
    assert lines[2].split() == ["two", "beta:tuned", "0", "done", "100"]
