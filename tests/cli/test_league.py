"""`recbench league`: what stands, what is missing, and running it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.errors import StageFailed
from recbench.core.records import TunePart, read_record
from recbench.data import dataset_card
from recbench.running.host.workplace import Workplace
from recbench.running.many import league
from recbench.running.requests import CompareRequest, TuneRequest
from recbench.tasks import NEXT_ITEM, leagues

CARDS = {row.name: row.plugin.full_card for row in registry.models().describe() if row.plugin is not None}
SMALL = """
untrained = ["random", "popularity", "recent-popularity"]
untrained_that_draw = ["random"]
untrained_seeds = 2
tuned = ["item-knn"]
tuned_trials = 2
learned = ["sasrec:smoke", "sasrec:cpu", "idgenrec:smoke"]
learned_trials = 2
learned_trial_part = 2
without_text = []

[classes.tiny]
datasets = ["demo"]
budget = "5cpu-s"
seeds = 2
tuned_on = "demo"

[classes.other]
datasets = ["beauty"]
budget = "1cpu-h"
seeds = 1

[protocols.leave-one-out]
split = "leave-one-out"
has_tuned = true

[protocols.rolling]
split = "rolling"
kinds = ["untrained"]
datasets = ["demo"]
repeats = { option = "cut", values = [0, 3] }
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    file = tmp_path / "leagues.toml"
    file.write_text(SMALL)
    monkeypatch.setattr(leagues, "_FILE", file)
    leagues.leagues.cache_clear()
    yield
    leagues.leagues.cache_clear()


def test_cells_are_of_the_class_and_of_what_its_data_can_serve(small: None) -> None:
    cells = leagues.cells_of_class("tiny", CARDS, "leave-one-out")
    names = [(cell.model, cell.seed, cell.budget) for cell in cells]
    untrained = [("random", 0, None), ("random", 1, None), ("popularity", 0, None), ("recent-popularity", 0, None)]
    assert names[:4] == untrained
    assert names.pop(4) == ("item-knn", 0, None)
    assert names[4:6] == [("sasrec:smoke", 0, "5cpu-s"), ("sasrec:smoke", 1, "5cpu-s")]
    # One search for each model, from the first of its presets.
    searched = [cell for cell in cells if cell.search and cell.budget]
    assert [(cell.entry, cell.model, cell.seed) for cell in searched] == [
        ("sasrec:tuned-2", "sasrec:smoke", 0),
        ("idgenrec:tuned-2", "idgenrec:smoke", 0),
    ]
    assert searched[0].command == "recbench tune sasrec demo --trials 2 --preset smoke --budget 2.5cpu-s"
    assert [cell.split for cell in leagues.cells_of_class("tiny", CARDS, "rolling")] == ["rolling:cut=0"] * 4 + ["rolling:cut=3"] * 4
    # Beauty tells no times that order its events, and no protocol but one is for it.
    assert {cell.model for cell in leagues.cells_of_class("other", CARDS)} == {
        "random",
        "popularity",
        "item-knn",
        "sasrec:smoke",
        "sasrec:cpu",
        "idgenrec:smoke",
    }


@pytest.mark.slow
def test_what_is_missing_is_run_once_and_counted_as_standing(small: None, recbench: Any) -> None:
    first = recbench("league", "show", "--class", "tiny", "--json").json[0]
    n_cells = first["cells"]
    assert len(first["missing"]) == n_cells
    # Of two searches two trials of half a budget, and the runs of what wins.
    n_trained = sum("budget" in command and " run " in command for command in first["missing"])
    assert first["hours_left"] == pytest.approx((5 * n_trained + 2 * (2 * 2.5 + 5)) / 3600)
    assert "recbench run -m sasrec -d demo --preset smoke --seed 1 --budget 5cpu-s" in first["missing"]
    assert "recbench run -m random -d demo --protocol rolling:cut=3 --seed 1" in first["missing"]
    assert "recbench tune item-knn demo --trials 2" in first["missing"]
    # One of them by hand, and one with other settings, which is another row.
    assert recbench("run", "-m", "popularity", "-d", "demo", "--threads", "1").code == 0
    assert recbench("run", "-m", "random", "-d", "demo", "--seen", "keep", "--threads", "1").code == 0
    assert recbench("run", "-m", "sasrec", "-d", "demo", "--preset", "smoke", "--budget", "5cpu-s", "--set", "network.width=16").code == 0
    second = recbench("league", "show", "--class", "tiny", "--json").json[0]
    assert set(first["missing"]) - set(second["missing"]) == {"recbench run -m popularity -d demo"}
    asked = ("league", "run", "--class", "tiny", "--models", "random,sasrec:smoke,item-knn:tuned-2,sasrec:tuned-2")
    done = recbench(*asked, "--threads", "1")
    assert done.code == 0, done.stderr
    third = recbench("league", "show", "--class", "tiny", "--json").json[0]
    smoke_of_sasrec = [command for command in third["missing"] if "-m sasrec" in command and "smoke" in command]
    others = [command for command in third["missing"] if any(part in command for part in ("-m random", "tune item", "tune sasrec"))]
    assert smoke_of_sasrec == others == []
    (searched,) = [
        record for run in (recbench.folder / "runs").glob("demo-sasrec-*") if (record := read_record(run / "record.json")).tuned is not None
    ]
    assert (searched.budget, searched.tuned.budget, searched.tuned.trials, searched.tuned.dataset) == ("5cpu-s", "2.5cpu-s", 2, "demo")
    again = recbench(*asked)
    assert again.code == 0
    assert "0 of" in again.stderr
    table = recbench("league", "show").stdout
    assert "rolling" in table
    assert f"{len(third['missing']) + 7:,} runs are missing" in table


def test_what_reads_no_times_stands_in_where_there_are_none() -> None:
    cells = leagues.cells_of_class("small", CARDS, "leave-one-out")
    hstu = {cell.dataset: (cell.model, cell.entry) for cell in cells if cell.name == "hstu" and cell.search is None}
    assert hstu["office"] == ("hstu:cpu-untimed", "hstu:cpu")
    assert hstu["ml-100k"] == ("hstu:cpu", "hstu:cpu")


def test_settings_searched_on_one_data_set_stand_on_the_others_of_the_class() -> None:
    cells = [cell for cell in leagues.cells_of_class("small", CARDS, "leave-one-out", "learned") if cell.search is not None]
    assert {cell.search.dataset for cell in cells if cell.search} == {"office"}
    assert {cell.dataset for cell in cells if cell.entry == "tiger:tuned-8"} == {"office", "industrial", "ml-100k", "steam", "beauty"}
    (cell,) = (cell for cell in cells if (cell.entry, cell.dataset) == ("hstu:tuned-8", "steam"))
    # What was searched is run, though steam tells times.
    assert (cell.model, cell.budget) == ("hstu:cpu-untimed", "3cpu-min")
    assert cell.command == "recbench tune hstu office --trials 8 --preset cpu-untimed --budget 1cpu-min"
    # No phrases on office, so no search; and one search for both presets of SASRec.
    assert "idgenrec:tuned-8" not in {cell.entry for cell in cells}
    assert len([cell for cell in cells if cell.name == "sasrec"]) == 5
    (large,) = {cell.search for cell in leagues.cells_of_class("large", CARDS, "leave-one-out", "learned") if cell.entry == "rpg:tuned-8"}
    assert large is not None
    assert large.command("rpg") == "recbench tune rpg sports --trials 8 --preset cpu --budget 160cpu-s"


def test_a_record_of_another_search_stands_for_no_cell() -> None:
    published = min((Path(__file__).parents[2] / "leaderboards/records").glob("beauty-tiger-cpu-s0-*"))
    search = TunePart(trials=8, trial=3, score=0.04, dataset="office", valid="of office", budget="1cpu-min")
    record_of_search = read_record(published / "record.json").model_copy(update={"budget": "3cpu-min", "tuned": search})
    (cell,) = (
        cell
        for cell in leagues.cells_of_class("small", CARDS, "leave-one-out", "learned")
        if (cell.entry, cell.dataset) == ("tiger:tuned-8", "beauty")
    )
    there = leagues.cell_key(cell, CARDS)
    assert there in leagues.record_keys(record_of_search, CARDS)
    for change in ({"trials": 9}, {"dataset": "industrial"}, {"budget": "2cpu-min"}, {"budget": None}, {"dataset": "beauty"}):
        other = record_of_search.model_copy(update={"tuned": search.model_copy(update=change)})
        assert there not in leagues.record_keys(other, CARDS)
    assert there not in leagues.record_keys(record_of_search.model_copy(update={"budget": None}), CARDS)


def test_a_search_for_several_data_sets_that_fails_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def refuse(request: TuneRequest, *_: Any) -> None:
        asked.append((request.model, request.dataset))
        raise StageFailed("All 8 trials failed.")

    monkeypatch.setattr(league, "tune_request", refuse)
    cells = [cell for cell in leagues.cells_of_class("small", CARDS, "leave-one-out", "learned") if cell.entry == "tiger:tuned-8"]
    workplace = Workplace(tmp_path, None, tmp_path, tmp_path)
    done = league.run_league(cells, CompareRequest(models=(), datasets=()), workplace, lambda _: None)
    assert asked == [("tiger", "office")]
    assert [(cell.dataset, cell.state, cell.reason) for cell in done] == [
        (cell.dataset, "failed", "All 8 trials failed.") for cell in cells
    ]


def test_unknown_names_are_told(small: None, recbench: Any) -> None:
    recbench("league", "show", "--class", "tny").refuses("no league class 'tny'", "Did you mean 'tiny'")
    recbench("league", "show", "--class", "tiny", "--protocol", "rollin").refuses("no league protocol 'rollin'", "'rolling'")
    recbench("league", "show", "--kind", "trained").refuses("no league kind 'trained'")
    recbench("league", "run", "--class", "tiny", "--models", "sasrc:smoke").refuses("'sasrc:smoke' is not in this part", "'sasrec:smoke'")
    recbench("league", "show", "--models", "sasrc:smoke").refuses("'sasrc:smoke' is not in this part")
    recbench("league", "run", "--class", "tiny", "--datasets", "beauty").refuses("'beauty' is not in this part")


def test_the_leagues_of_this_version_name_what_there_is() -> None:
    raw = tomllib.loads(leagues._FILE.read_text())
    datasets = [name for of in raw["classes"].values() for name in of["datasets"]]
    assert len(datasets) == len(set(datasets)) == 12
    for name in datasets:
        dataset_card(name)
    for of in raw["classes"].values():
        assert Budget.parse(of["budget"]).unit == "cpu-seconds"
    for how in raw["protocols"].values():
        NEXT_ITEM.protocol(how["split"], how.get("ties", "source"))
        assert set(how.get("datasets", [])) <= set(datasets)
    for name in raw["classes"]:
        cells = leagues.cells_of_class(name, CARDS)
        assert len(cells) == len(set(cells))
        leagues.standing(cells, [], CARDS)
