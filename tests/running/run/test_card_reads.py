"""What a card does not say that it reads, a model is not handed; what it says is part of its keys."""

from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadConfig, FitContext, FitReport, Queries, TimeKind
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run.execute import run_request
from recbench_models.random.recommender import Random


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")


def shop(folder: Path, titles: list[str]) -> Path:
    """Twelve users with the same events, whatever the items are called."""
    folder.mkdir(parents=True)
    events = [f"u{user:02d},i{(user + place) % 10},{1_600_000_000 + place}" for user in range(12) for place in range(6)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n")
    (folder / "items.csv").write_text("\n".join(["item_id,title", *(f"i{row},{title}" for row, title in enumerate(titles))]) + "\n")
    return folder


def run(workplace: Workplace, source: Path, model: str, preset: str | None = None) -> RunOutcome:
    outcome = run_request(RunRequest(model, str(source), preset=preset, threads=1), workplace)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize(
    ("model", "preset", "reads"),
    [("graph-heuristic", "smoke", True), ("text-knn", "smoke", True), ("popularity", None, False), ("last-item-markov", None, False)],
)
def test_other_texts_are_another_training_of_a_model_that_reads_them(
    workplace: Workplace, tmp_path: Path, model: str, preset: str | None, reads: bool
) -> None:
    words = [
        "red wool hat",
        "blue wool hat",
        "red scarf",
        "iron anchor",
        "steel anchor",
        "oak table",
        "oak chair",
        "pine chair",
        "tin",
        "rope",
    ]
    first, second = (
        run(workplace, shop(tmp_path / name / "shop", titles), model, preset) for name, titles in (("a", words), ("b", words[::-1]))
    )
    reused = {stage.name: stage.reused for stage in second.record.stages}
    assert reused[f"training-{model}"] == (not reads)
    assert [outcome.record.model.reads_text for outcome in (first, second)] == [reads, reads]


def test_undeclared_texts_are_refused_and_undeclared_times_withheld(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shop(tmp_path / "shop", ["hat"] * 10)
    answer = Random.generate
    seen: dict[str, Any] = {}

    def fit(self: Random, context: FitContext) -> FitReport:
        seen["train"] = context.train
        if seen.get("asks"):
            context.items.titles()
        return FitReport()

    def generate(self: Random, queries: Queries, k: int) -> Any:
        seen["queries"] = queries
        return answer(self, queries, k)

    monkeypatch.setattr(Random, "fit", fit)
    monkeypatch.setattr(Random, "generate", generate)
    run(workplace, source, "random")
    assert seen["train"].time is TimeKind.NONE
    assert not seen["train"].timestamp.any()
    assert seen["train"].seconds is None
    assert seen["queries"].timestamp is None
    seen["asks"] = True
    with pytest.raises(BadConfig, match=r"'random' reads item text and its card does not say so"):
        run_request(RunRequest("random", str(source), seed=1, threads=1), workplace)
