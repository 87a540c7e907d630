"""Every run stands beside the cheap references of its split."""

import json

import pytest

from recbench.core.records import Interval, ReferencePart
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run.execute import run_request
from recbench.running.run.references_file import REFERENCES_FILE


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("references")
    return Workplace(root / "home", None, root / "runs", root / "leaderboards")


def run(workplace: Workplace, model: str, **options: object) -> RunOutcome:
    outcome = run_request(RunRequest(model, "demo", threads=1, **options), workplace)
    assert outcome is not None
    return outcome


def test_values_are_those_of_the_references_own_runs(workplace: Workplace) -> None:
    outcome = run(workplace, "random")
    found = {(part.model, part.view): part for part in outcome.references}
    models = {"popularity", "item-knn", "last-item-markov"}
    assert set(found) == {(model, view) for model in models for view in ("keep", "unseen")}
    for model in models:
        theirs = run(workplace, model).record
        for view in ("keep", "unseen"):
            part = found[model, view]
            assert part.reference == theirs.model.row_name
            assert part.value == pytest.approx(theirs.metrics[view]["ndcg@10"].value, abs=1e-12)
            difference = outcome.record.metrics[view]["ndcg@10"].value - part.value
            assert part.difference.value == pytest.approx(difference, abs=1e-12)
            assert part.difference.low <= difference <= part.difference.high
    assert found["item-knn", "keep"].verdict == "below"


def test_references_cost_the_run_nothing(workplace: Workplace) -> None:
    record = run(workplace, "random").record
    assert [stage.name for stage in record.stages] == ["dataset", "split", "training-random", "ranking"]


def test_a_reference_does_not_stand_beside_itself(workplace: Workplace) -> None:
    assert {part.model for part in run(workplace, "popularity").references} == {"item-knn", "last-item-markov"}


def test_one_view_asked_for_is_one_view_compared(workplace: Workplace) -> None:
    assert {part.view for part in run(workplace, "random", seen="unseen").references} == {"unseen"}


def test_more_lists_than_minutes_can_make_go_without_references(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("recbench.running.run.references._MOST_SCORES", 1_000)
    with caplog.at_level("INFO"):
        assert run(workplace, "random", seed=5).references == ()
    assert "references left out: " in caplog.text


def test_a_finished_run_is_shown_with_the_same_references(workplace: Workplace) -> None:
    first, again = run(workplace, "random", seed=3), run(workplace, "random", seed=3)
    assert not again.is_new
    assert again.references == first.references
    kept = json.loads((first.folder / REFERENCES_FILE).read_text())
    assert [part["model"] for part in kept] == [part.model for part in first.references]


def test_damaged_references_do_not_hide_the_record(workplace: Workplace) -> None:
    first = run(workplace, "random", seed=4)
    (first.folder / REFERENCES_FILE).write_bytes(b"\xff{")
    again = run(workplace, "random", seed=4)
    assert again.record == first.record
    assert again.references == ()


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.001, 0.003, "above"), (-0.001, 0.003, "level with"), (0.0, 0.1, "level with"), (-0.3, -0.1, "below")]
)
def test_verdict_by_the_interval(low: float, high: float, verdict: str) -> None:
    difference = Interval(value=(low + high) / 2, low=low, high=high)
    assert ReferencePart(reference="a:b", model="a", view="keep", value=0.1, difference=difference).verdict == verdict
