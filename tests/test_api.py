"""The functions of `import recbench`: the options of the command line, results as frames, light to import."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import recbench
from recbench.cli.app import app
from recbench.core import BadRequest, UnknownPlugin
from recbench.core.records import read_record
from recbench.reporting import published_board
from recbench.running.requests import CompareRequest, RunRequest, TuneRequest

WALKER = Path(__file__).parent / "running" / "walker"
OF_ONE = ["view", "metric", "value", "low", "high"]
IN_COMMANDS = {"config": "config_file", "plugin": "plugins"}
"""Options that a shell names by what is given once, a request by what it holds."""
NO_OPTIONS = {"tune_log", "journal", "trial"}
"""Fields that leagues and searches fill."""
REQUESTS: dict[str, Any] = {"run": RunRequest, "compare": CompareRequest, "tune": TuneRequest}


def _fields(request: Any) -> dict[str, Any]:
    """Option -> default, None for empty ones, of a request."""
    found = {}
    for field in dataclasses.fields(request):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        found[field.name] = "needed" if default is dataclasses.MISSING else default or None
    return {name: default for name, default in found.items() if name not in NO_OPTIONS}


def _signature(function: Any) -> dict[str, Any]:
    """Option -> default of a function; the folder of data belongs to the workplace, `debug` and `as_json` to a shell."""
    return {
        IN_COMMANDS.get(name, name): "needed" if option.default is inspect.Parameter.empty else option.default or None
        for name, option in inspect.signature(function).parameters.items()
        if name not in {"data_dir", "as_json", "debug", "plot"}
    }


def _command(verb: str) -> Any:
    return next(command.callback for command in app.registered_commands if command.callback.__name__ == verb)


@pytest.mark.parametrize("verb", REQUESTS)
def test_shell_and_python_take_the_options_of_the_request(verb: str) -> None:
    wanted = _fields(REQUESTS[verb])
    assert _signature(_command(verb)) == wanted
    assert _signature(getattr(recbench, verb)) == wanted
    assert "data_dir" in inspect.signature(getattr(recbench, verb)).parameters


@pytest.mark.parametrize("name", [name for name in recbench.__all__ if name != "__version__"])
def test_every_function_explains_its_parameters(name: str) -> None:
    function = getattr(recbench, name)
    for parameter in inspect.signature(function).parameters:
        assert f"    {parameter}: " in (function.__doc__ or "")


def test_names_are_listed_and_nothing_heavy_is_imported() -> None:
    code = (
        "import json, sys, recbench\nassert set(recbench.__all__) <= set(dir(recbench))\n"
        "light = sorted({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules))\n"
        "recbench.run\nprint(json.dumps([light, sorted({'torch', 'pandas'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [[], []]


@pytest.fixture
def place(tmp_path: Path, demo_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a filled cache."""
    monkeypatch.setenv("RECBENCH_HOME", str(demo_home))
    monkeypatch.delenv("RECBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_a_line_a_table_and_a_frame(place: Path) -> None:
    outcome = recbench.run("popularity", "demo", threads=1, precision="fp32", protocol="leave-one-out")
    run_id = outcome.record.run_id
    assert repr(outcome) == f"<RunOutcome: popularity:default on demo, seed 0, run {run_id}, new>"
    assert repr(outcome.record) == f"<RunRecord: popularity:default on demo, seed 0, run {run_id}>"
    frame = outcome.to_frame()
    assert list(frame.columns[-5:]) == OF_ONE
    figure = outcome.record.metrics["keep"]["ndcg@10"]
    (line,) = frame[(frame["view"] == "keep") & (frame["metric"] == "ndcg@10")].to_dict("records")
    assert (line["value"], line["low"], line["high"]) == (figure.value, figure.low, figure.high)
    assert f"<p>popularity:default on demo, seed 0, run {run_id}, new</p><table" in outcome._repr_html_()
    pd.testing.assert_frame_equal(recbench.records(), frame)
    references = outcome.references_to_frame()
    assert [references.shape, set(references["verdict"]) <= {"above", "level with", "below"}] == [(4, 7), True]
    part = outcome.references[0]
    assert (references["value"][0], references["low"][0]) == (part.value, part.difference.low)


def test_ranks_histories_and_lists_tell_of_the_same_targets(place: Path) -> None:
    record = recbench.run("item-knn", "demo", threads=1).record
    ranks, histories, lists = recbench.ranks("last"), recbench.histories("last"), recbench.lists("last", k=10)
    assert list(ranks.columns[:6]) == ["user", "target", "item_id", "title", "rank_keep", "rank_unseen"]
    assert len(ranks) == record.targets.n_targets
    assert ranks["rank_keep"].between(0, 9).mean() == pytest.approx(record.metrics["keep"]["recall@10"].value)
    assert ranks["in_history"].mean() == pytest.approx(record.targets.share_in_history)
    assert (ranks["relation"] == "seen pair").equals(ranks["follows_last"])
    assert (histories.groupby("user").size() == ranks.set_index("user")["history_length"]).all()
    assert lists.groupby(["query", "view"])["rank"].apply(list).map(lambda places: places == list(range(10))).all()
    for view in ("keep", "unseen"):
        shown = lists[lists["view"] == view].merge(ranks, left_on=["user", "item"], right_on=["user", "target"])
        found = ranks[ranks[f"rank_{view}"].between(0, 9)]
        assert shown.set_index("user")["rank"].to_dict() == found.set_index("user")[f"rank_{view}"].to_dict()
        assert (shown["title_x"] == shown["title_y"]).all()
    mine = histories[histories["user"] == 0]
    listed = recbench.load("last").recommend(mine["item_id"].tolist(), k=10, view="keep", user_id=mine["user_id"].iloc[0])
    assert [one.item_id for one in listed] == lists[(lists["user"] == 0) & (lists["view"] == "keep")]["item_id"].tolist()
    with pytest.raises(BadRequest, match="at least one item"):
        recbench.lists("last", k=0)


def test_codes_are_those_that_the_record_describes(place: Path) -> None:
    record = recbench.run("tiger", "demo", preset="smoke", overrides={"training.max_steps": 2}, threads=1).record
    codes = recbench.codes("last")
    levels = [name for name in codes.columns if name.startswith("level_")]
    assert len(codes) == record.dataset.n_items
    assert not codes.duplicated(levels).any()
    assert (codes["sharing"] > 1).mean() == pytest.approx(record.diagnostics["codes_colliding_share"])
    assert codes["level_1"].nunique() == record.diagnostics["codes_used_1"]
    assert codes["title"].notna().all()
    recbench.run("popularity", "demo", threads=1)
    with pytest.raises(BadRequest, match="has no item codes"):
        recbench.codes("last")


def test_a_folder_is_checked_and_its_shortcuts_are_shown(place: Path) -> None:
    assert recbench.check("demo")["is_good"].all()
    wrong = recbench.check(str(place / "nowhere"))
    assert wrong["is_good"].tolist() == [False]
    assert "there is no such folder" in wrong["detail"][0]
    assert recbench.shortcuts("demo").iloc[0].tolist() == ["test targets", "500"]


def test_the_log_names_the_preset_and_keeps_the_settings_for_those_who_debug(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="recbench"):
        recbench.run("popularity", "demo", threads=1)
    told = [record.getMessage() for record in caplog.records if record.name.endswith("execute")]
    assert any(message.startswith("preset default on ") for message in told)
    assert not any("{" in message for message in told)


def test_headlines_are_no_markup(place: Path) -> None:
    record = recbench.run("popularity", "demo", threads=1).record
    named = record.model_copy(update={"model": record.model.model_copy(update={"row_name": "<b>&"})})
    assert "<p>&lt;b&gt;&amp; on demo" in named._repr_html_()


def test_what_the_shell_refuses_is_refused_before_any_work(place: Path) -> None:
    of_python: list[dict[str, Any]] = [{"seed": -1}, {"seed": 1.5}, {"jobs": 0}, {"track": "tensorboard"}, {"plugins": "folder"}]
    for wrong in (*of_python, {"budget": 20}):
        with pytest.raises(BadRequest, match=next(iter(wrong))):
            recbench.run("popularity", "demo", threads=1, **wrong)
    with pytest.raises(BadRequest, match=r"Give a list: models=\['popularity'\]"):
        recbench.compare("popularity", ["demo"])
    with pytest.raises(BadRequest, match="--seed -1"):
        recbench.tune("item-knn", "demo", seed=-1)
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_a_comparison_has_cells_metrics_and_paired_tests(place: Path) -> None:
    found = recbench.compare(["popularity", "random"], ["demo"], threads=1)
    assert [cell.state for cell in found.cells] == ["done", "done"]
    assert repr(found) == "<CompareOutcome: 2 cells, 0 failed; 2 rows on demo>"
    assert list(found.to_frame().columns[-5:]) == OF_ONE
    (test,) = found.tests["demo"]
    (line,) = found.tests_to_frame().to_dict("records")
    assert (line["dataset"], line["best"], line["other"], line["p"]) == ("demo", test.best, test.other, test.p)
    costs = found.costs_to_frame().set_index("model")
    assert costs.loc["popularity:default", "parameters"] == 300  # a count per item
    again = recbench.compare_runs([cell.folder for cell in found.cells if cell.folder is not None])
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    pd.testing.assert_frame_equal(again.tests_to_frame(), found.tests_to_frame())
    assert found._repr_html_().startswith("<p>2 cells, 0 failed; 2 rows on demo</p><table")


@pytest.mark.slow
def test_a_search_gives_settings_for_a_run(place: Path) -> None:
    found = recbench.tune("item-knn", "demo", trials=2, threads=1)
    assert [trial.state for trial in found.log.trials] == ["done", "done"]
    trials = found.trials_to_frame()
    assert list(trials.columns) == ["trial", "state", *found.log.space, "score", "train_s"]
    assert trials["score"].max() == found.best.score
    assert trials["decay"].tolist() == [trial.config["decay"] for trial in found.log.trials]
    assert recbench.run("item-knn", "demo", config_file=found.config_file, threads=1).record.tuned is not None


def test_boards_that_are_not_there_are_sentences(place: Path) -> None:
    with pytest.raises(BadRequest, match=r"no folder leaderboards with leaderboards here.*leaderboard publish"):
        recbench.board("beauty")
    (place / "leaderboards").mkdir()
    with pytest.raises(BadRequest, match=r"no board of 'beauty' in leaderboards.*Known: none"):
        recbench.board("beauty")


def test_a_board_is_a_frame(place: Path) -> None:
    run = recbench.run("popularity", "demo", threads=1)
    target = place / "leaderboards" / "records" / run.record.run_id
    target.mkdir(parents=True)
    for name in ("record.json", "ranks.parquet", "exposure.parquet"):
        (target / name).write_bytes((run.folder / name).read_bytes())
    frame = recbench.board("demo")
    assert list(frame.columns[-5:]) == OF_ONE
    assert repr(published_board(place / "leaderboards", "demo", {})) == f"<Board: {run.record.dataset.title}, 1 rows>"
    (line,) = frame[(frame["view"] == "unseen") & (frame["metric"] == "recall@10")].to_dict("records")
    assert line["value"] == read_record(target / "record.json").metrics["unseen"]["recall@10"].value


def test_load_says_which_folder_to_pass(place: Path) -> None:
    run = recbench.run("walker", "demo", plugins=[WALKER], overrides={"steps": 2}, threads=1)
    with pytest.raises(UnknownPlugin, match=rf"Pass plugins=\['{WALKER}'\]"):
        recbench.load("last")
    assert recbench.load(run.folder, plugins=[WALKER]).recommend([], k=2)


@pytest.mark.slow
def test_the_guide_does_what_it_says(place: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "python-api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python-api.md", "exec"), names)
    assert len(blocks) == 5
    assert [cell.state for cell in names["found"].cells] == ["done", "done"]
    assert names["best"].record.tuned is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = recbench.nothing
