"""Models across data sets: ranks among those that stand on all, wins among all."""

from pathlib import Path
from typing import Any

import pytest

from recbench.reporting import StoredRun, make_boards, publish
from recbench.reporting.answers import NO_ANSWERS
from recbench.reporting.grids import standing
from recbench.reporting.standing import Standings, standings


def found_in(*folders: Path) -> list[Standings]:
    return standings(make_boards([StoredRun.open(folder) for folder in folders], {}), NO_ANSWERS)


def runs_of(workshop: Any, dataset: str, skills: dict[str, float], **changes: Any) -> list[Path]:
    split = 1 + ["one", "two", "three"].index(dataset)
    named = {"name": dataset, "title": dataset}
    return [workshop.run(*row.split(":"), skill=skill, split=split, dataset=named, **changes) for row, skill in skills.items()]


def test_a_mean_rank_runs_over_models_that_stand_on_every_data_set(workshop: Any) -> None:
    runs = runs_of(workshop, "one", {"a:paper": 0.9, "b:paper": 0.5, "c:paper": 0.2, "guest:paper": 0.99})
    runs += runs_of(workshop, "two", {"a:paper": 0.4, "b:paper": 0.7, "c:paper": 0.1})
    keep, unseen = found_in(*runs)
    assert (keep.view, unseen.view) == ("keep", "unseen")
    assert (keep.datasets, keep.n_ranked) == (("one", "two"), 3)
    ranks = {model.model: (model.mean_rank, model.wins) for model in keep.models}
    assert ranks == {"a": (1.5, 0), "b": (1.5, 1), "c": (3.0, 0), "guest": (None, 1)}
    grid = standing(keep)
    cells = {row[0]: dict(zip(grid.header, row, strict=True)) for row in grid.rows}
    assert cells["guest"]["Data sets"] == "1 of 2"
    assert cells["guest"]["Mean rank"] == cells["guest"]["two"] == "–"
    assert cells["a"]["one"].endswith("(1)")
    assert cells["a"]["two"].endswith("(2)")
    assert [row[0] for row in grid.rows] == ["b", "a", "c", "guest"]


def test_a_model_stands_with_its_best_row_and_equal_ones_share_a_rank(workshop: Any, reseal: Any) -> None:
    runs = []
    for dataset in ("one", "two"):
        runs += runs_of(workshop, dataset, {"a:paper": 0.9, "a:cpu": 0.3})
        # Without any skill and on the same draw two models come out alike.
        runs += runs_of(workshop, dataset, {"b:paper": 0.5, "b:cpu": 0.5})
    keep = found_in(*runs)[0]
    (best, second) = keep.models
    assert {place.row for place in best.places.values()} == {"a:paper"}
    assert (best.mean_rank, second.mean_rank) == (1.0, 2.0)
    twins = [workshop.run("x", dataset={"name": name}, config_hash="c" * 64) for name in ("one", "two")]
    for twin in list(twins):
        record = (twin / "record.json").read_text()
        copy = Path(str(twin) + "-y")
        copy.mkdir()
        for file in twin.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        (copy / "record.json").write_text(reseal(record.replace(twin.name, copy.name).replace('"x', '"y')))
        twins.append(copy)
    keep = found_in(*twins)[0]
    assert [(model.model, model.mean_rank, model.wins) for model in keep.models] == [("x", 1.5, 2), ("y", 1.5, 2)]


def test_data_sets_are_joined_only_where_they_share_a_protocol_and_a_view(workshop: Any) -> None:
    runs = runs_of(workshop, "one", {"a:paper": 0.5}) + runs_of(workshop, "two", {"a:paper": 0.5}, views=("keep",))
    runs += runs_of(workshop, "three", {"a:paper": 0.5}, protocol={"ties": "shuffle=1"})
    keep, unseen = found_in(*runs)
    assert keep.datasets == ("one", "two")
    assert [model.mean_rank for model in keep.models] == [1.0]
    assert [model.mean_rank for model in unseen.models] == [None]
    assert found_in(*runs[:1]) == []


@pytest.mark.parametrize("n_datasets", [1, 2])
def test_the_index_has_the_table_where_there_is_more_than_one_data_set(workshop: Any, tmp_path: Path, n_datasets: int) -> None:
    runs = [run for name in ("one", "two")[:n_datasets] for run in runs_of(workshop, name, {"a:paper": 0.5, "b:paper": 0.2})]
    publish(tmp_path / "boards", runs, {})
    index = (tmp_path / "boards" / "index.md").read_text()
    assert ("2 data sets, 2 models on all of them." in index) == (n_datasets == 2)
    assert ("| a | 2 of 2 | 1.00 | 2 | " in index) == (n_datasets == 2)
