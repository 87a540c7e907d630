"""The answer: rows of leagues across data sets, what is missing, and that verify computes all of it again."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import VerifyFailed
from recbench.core.latency import LATENCY_FILE, BatchLatency, Latency
from recbench.core.model_card import ModelCard
from recbench.reporting import StoredRun, make_boards, publish, verify
from recbench.reporting.answer_grids import alike_line, costs, coverage, leads, league_table, standing_line, strengths
from recbench.reporting.answers import Answers, make_answers
from recbench.reporting.reckoner import Drawn
from recbench.reporting.workers import DrawJob, Workers
from recbench.tasks import leagues

TINY = """
untrained = ["popularity", "random"]
untrained_that_draw = ["random"]
untrained_seeds = 2
tuned = ["sasrec"]
tuned_trials = 4
learned = ["sasrec:cpu", "tiger:cpu"]
without_text = []

[classes.tiny]
datasets = ["beauty", "sports", "ml-100k"]
budget = "3cpu-min"
seeds = 1

[protocols.leave-one-out]
split = "leave-one-out"

[protocols.shuffled-ties]
split = "leave-one-out"
ties = "shuffle=1"
datasets = ["ml-100k"]

[protocols.rolling]
split = "rolling"
datasets = ["ml-100k"]
kinds = ["untrained"]
has_tuned = true
repeats = { option = "cut", values = [0, 1] }
"""
SPLITS = {"beauty": 1, "sports": 2, "ml-100k": 3}
SKILLS = {"popularity": 0.1, "random": 0.0, "sasrec": 0.5, "tiger": 0.4}


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    file = tmp_path / "leagues.toml"
    file.write_text(TINY)
    monkeypatch.setattr(leagues, "_FILE", file)
    leagues.leagues.cache_clear()
    yield
    leagues.leagues.cache_clear()


@pytest.fixture
def cards_of_league() -> dict[str, ModelCard]:
    def card(name: str, family: str, preset: str, *, is_trivial: bool) -> ModelCard:
        presets, default = {preset: {"width": 64}}, {"cpu": preset, "cuda": preset}
        tune = {"preset": preset, "space": {"width": {"integers": (8, 64)}}}
        return ModelCard(
            name=name, title=name, summary="", family=family, is_trivial=is_trivial, presets=presets, default=default, tune=tune
        )

    return {
        "popularity": card("popularity", "scoring", "default", is_trivial=True),
        "random": card("random", "scoring", "default", is_trivial=True),
        "sasrec": card("sasrec", "scoring", "cpu", is_trivial=False),
        "tiger": card("tiger", "generative", "cpu", is_trivial=False),
    }


def run_of(workshop: Any, model: str, dataset: str, *, skill: float | None = None, **changes: Any) -> Path:
    learns = model in ("sasrec", "tiger")
    split = changes.pop("split", SPLITS[dataset])
    part = {"name": model, "family": "generative" if model == "tiger" else "scoring", "is_trivial": not learns}
    parts = {"model": part, "dataset": {"name": dataset, "title": dataset}, "budget": "3cpu-min" if learns else None}
    parts |= changes
    own = SKILLS[model] if skill is None else skill
    run: Path = workshop.run(model, "cpu" if learns else "default", skill=own, split=split, **parts)
    return run


def answers_of(runs: list[Path], cards: dict[str, ModelCard]) -> Answers:
    return make_answers(make_boards([StoredRun.open(run) for run in runs], cards), cards, Workers(1, 0))


def test_rows_of_a_league_are_told_apart_and_what_is_missing_is_named(workshop: Any, cards_of_league: Any) -> None:
    runs = [run_of(workshop, model, "beauty") for model in ("popularity", "sasrec")]
    # None of these is a row of the league: longer, of another preset's settings, searched, on a GPU, of a seed that it has not.
    runs += [run_of(workshop, "tiger", "beauty", budget=None, config_hash="a" * 64)]
    runs += [run_of(workshop, "tiger", "beauty", config={"width": 32}, config_hash="b" * 64)]
    runs += [run_of(workshop, "tiger", "beauty", device={"type": "cuda"}, config_hash="c" * 64)]
    runs += [run_of(workshop, "tiger", "beauty", seed=7, config_hash="d" * 64)]
    (table,) = answers_of(runs, cards_of_league).tables
    assert [(row.model, row.family) for row in table.rows] == [("sasrec:cpu", "sequential"), ("popularity", "untrained")]
    assert [(cell.model, cell.seed) for cell in table.missing] == [("random", 0), ("random", 1), ("tiger:cpu", 0)]
    assert standing_line(table).startswith(
        "2 of its 5 runs stand; `recbench league run --class tiny --protocol leave-one-out --datasets beauty`"
    )
    (row,) = coverage([table]).rows
    assert row == ("beauty", "tiny", "3cpu-min", "leave-one-out", "2", "2 of 5", "random, tiger:cpu")


def test_a_split_without_a_row_is_missing_and_of_two_searches_the_newer_counts(workshop: Any, cards_of_league: Any) -> None:
    cut = {"protocol": {"split": "rolling", "split_options": {"cut": 0, "targets": "last"}, "views": ("keep", "unseen"), "list_length": 50}}

    def searched(preset: str, skill: float, mark: str) -> Path:
        valid = f"{SPLITS['ml-100k']}valid".encode().hex().ljust(64, "0")
        tuned = {"trials": 4, "trial": 1, "score": 0.1, "dataset": "ml-100k", "valid": valid}
        parts = cut | {"dataset": {"name": "ml-100k", "title": "ml-100k"}, "tuned": tuned, "config_hash": mark * 64}
        run: Path = workshop.run("sasrec", preset, skill=skill, split=SPLITS["ml-100k"], **parts)
        return run

    runs = [run_of(workshop, "popularity", "ml-100k", **cut), searched("cpu", 0.9, "a"), searched("cpu", 0.2, "b")]
    # Newer still, but the search began at another preset than that of the card's space.
    runs.append(searched("other", 1.0, "c"))
    first, second = answers_of(runs, cards_of_league).tables
    (tuned,) = [row for row in first.rows if row.model == "sasrec:tuned-4"]
    assert tuned.row.record.config_hash == "b" * 64
    assert (second.section, second.rows, len(second.missing)) == (None, (), 4)
    (row,) = coverage([first, second]).rows
    assert row[3:] == ("rolling", "2", "2 of 8", "random")


def test_an_answer_across_data_sets(workshop: Any, cards_of_league: Any) -> None:
    runs = [run_of(workshop, model, dataset) for dataset in SPLITS for model in SKILLS]
    runs += [run_of(workshop, "random", dataset, seed=1) for dataset in SPLITS]
    answers = answers_of(runs, cards_of_league)
    assert [(answer.protocol, answer.view) for answer in answers.answers] == [("leave-one-out", "keep"), ("leave-one-out", "unseen")]
    keep = answers.answers[0]
    assert keep.datasets == ("beauty", "ml-100k", "sports")
    order = [one.model for one in keep.models]
    assert set(order[:2]) == {"sasrec:cpu", "tiger:cpu"}
    by_name = {one.model: one for one in keep.models}
    for one in keep.models:
        assert one.mean_rank is not None
        assert one.mean_rank.value == pytest.approx(sum(one.ranks.values()) / 3)
        assert one.strength.low <= one.strength.high
    # The figures are those of the boards, seeds averaged.
    (board,) = [board for board in make_boards([StoredRun.open(run) for run in runs], cards_of_league) if board.name == "sports"]
    for board_row in board.sections[0].rows:
        name = board_row.row.record.model.name
        key = f"{name}:cpu" if name in ("sasrec", "tiger") else name
        assert by_name[key].values["sports"] == pytest.approx(board_row.row.main("keep"))
    for lead in keep.leads:
        assert lead.difference.value == pytest.approx(by_name[lead.one].values[lead.dataset] - by_name[lead.other].values[lead.dataset])
        assert lead.difference.low <= lead.difference.value <= lead.difference.high
    assert {family for best in keep.best.values() for family in best} == {"untrained", "sequential", "generative"}
    assert sum(of for _, of in keep.predicted.values()) == 3 * 6
    assert keep.critical is not None
    grid = strengths(keep)
    assert all(len(row) == len(grid.header) for row in grid.rows)
    assert len(leads(keep).rows) == 3


def test_what_hardly_trained_stands_on_its_board_and_competes_nowhere(workshop: Any, cards_of_league: Any) -> None:
    runs = [run_of(workshop, model, dataset) for dataset in ("beauty", "sports") for model in ("popularity", "sasrec")]
    fit = {"epochs": 0.2, "examples_seen": 200}
    runs += [run_of(workshop, "tiger", dataset, fit=fit) for dataset in ("beauty", "sports")]
    answers = answers_of(runs, cards_of_league)
    assert {one.model for one in answers.answers[0].models} == {"popularity", "sasrec:cpu"}
    for table in answers.tables:
        assert any(row[1] == "tiger:cpu (undertrained: 0.2 passes)" for row in league_table(table).rows)


def test_a_model_on_some_data_sets_has_a_strength_and_no_mean_rank(workshop: Any, cards_of_league: Any) -> None:
    runs = [run_of(workshop, model, dataset) for dataset in ("beauty", "sports") for model in ("popularity", "sasrec")]
    runs.append(run_of(workshop, "tiger", "beauty"))
    keep = answers_of(runs, cards_of_league).answers[0]
    tiger = next(one for one in keep.models if one.model == "tiger:cpu")
    assert tiger.mean_rank is None
    assert set(tiger.ranks) == {"beauty"}
    assert keep.critical is None
    assert (
        dict(zip(strengths(keep).header, next(row for row in strengths(keep).rows if row[0] == "tiger:cpu"), strict=True))["sports"] == "–"
    )


def test_where_no_model_finds_anything_there_is_an_answer_all_the_same(
    workshop: Any, cards_of_league: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrawJob, "answer", lambda job, _: Drawn(mean=[0.0] * len(job.rows), drawn=[[0.0] * len(job.rows)] * 3))
    runs = [run_of(workshop, model, dataset) for dataset in ("beauty", "sports") for model in ("popularity", "sasrec", "tiger")]
    keep = answers_of(runs, cards_of_league).answers[0]
    assert {(one.share_of_best, one.strength.value) for one in keep.models} == {(None, 0.0)}
    assert [row[2] for row in costs(keep).rows] == ["–"] * 3
    assert alike_line(keep).startswith("Friedman's test that all 3 models on all data sets are equally good: p 1.0000.")


def test_times_of_calls_stand_beside_the_quality_where_they_were_measured(workshop: Any, cards_of_league: Any) -> None:
    runs = {
        (model, dataset): run_of(workshop, model, dataset)
        for dataset in ("beauty", "sports")
        for model in ("popularity", "sasrec", "tiger")
    }
    for dataset, ms in (("beauty", 4.0), ("sports", 8.0)):
        save_latency(runs["tiger", dataset], p50_ms=ms, machine="cpu: a processor, 1 threads")
    save_latency(runs["sasrec", "beauty"], p50_ms=1.0, batch=16, machine="cpu: another, 2 threads")
    found = answers_of(list(runs.values()), cards_of_league)
    assert found.machines == ("cpu: a processor, 1 threads", "cpu: another, 2 threads")
    grid = costs(found.answers[0])
    row = {cells[0]: dict(zip(grid.header, cells, strict=True)) for cells in grid.rows}
    titles = ("A call, p50 ms", "p95 ms", "Users/s in calls of 256")
    assert [row["tiger:cpu"][title] for title in titles] == ["6.0", "12.0", "1,000"]
    # Calls of other sizes say nothing of these.
    assert [row["sasrec:cpu"][title] for title in titles] == ["–", "–", "–"]
    assert [row["popularity"][title] for title in titles] == ["–", "–", "–"]


def test_times_of_training_stand_apart_by_class_as_budgets_differ(
    workshop: Any, cards_of_league: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "two.toml"
    other = '[classes.wide]\ndatasets = ["ml-100k"]\nbudget = "5cpu-min"\nseeds = 1\n\n[protocols.leave'
    file.write_text(TINY.replace(', "ml-100k"]\nbudget', "]\nbudget").replace("[protocols.leave", other, 1))
    monkeypatch.setattr(leagues, "_FILE", file)
    leagues.leagues.cache_clear()
    runs = []
    for dataset, seconds in (("beauty", 100.0), ("sports", 140.0), ("ml-100k", 290.0)):
        budget = "5cpu-min" if dataset == "ml-100k" else "3cpu-min"
        runs += [run_of(workshop, "sasrec", dataset, budget=budget, cost={"train_cpu_s": seconds}), run_of(workshop, "popularity", dataset)]
    answer = answers_of(runs, cards_of_league).answers[0]
    grid = costs(answer)
    row = {cells[0]: dict(zip(grid.header, cells, strict=True)) for cells in grid.rows}
    titles = ("Training, CPU s, tiny", "Training, CPU s, wide")
    assert [row["sasrec:cpu"][title] for title in titles] == ["120.0", "290.0"]
    assert [row["popularity"][title] for title in titles] == ["–", "–"]


def test_times_of_other_lists_are_not_shown(workshop: Any, cards_of_league: Any) -> None:
    runs = {(model, dataset): run_of(workshop, model, dataset) for dataset in ("beauty", "sports") for model in ("popularity", "tiger")}
    save_latency(runs["tiger", "beauty"], p50_ms=4.0, machine="cpu: long lists", k=50)
    save_latency(runs["tiger", "sports"], p50_ms=8.0, machine="cpu: another view", view="keep")
    found = answers_of(list(runs.values()), cards_of_league)
    assert found.machines == ()
    assert all(one.call_ms is None and one.served_per_s is None for one in found.answers[0].models)


def test_a_search_that_chooses_the_preset_itself_is_an_entry_of_its_own(
    workshop: Any, cards_of_league: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "searched.toml"
    one_seed, plain = "seeds = 1\n", 'split = "leave-one-out"\n\n[protocols.shuffled'
    text = TINY.replace(one_seed, 'seeds = 2\ntuned_on = "beauty"\n').replace(plain, plain.replace("\n\n", "\nhas_tuned = true\n\n"))
    file.write_text(text)
    monkeypatch.setattr(leagues, "_FILE", file)
    leagues.leagues.cache_clear()
    runs = [run_of(workshop, "sasrec", "beauty", seed=seed) for seed in range(2)]
    valid = StoredRun.open(runs[0]).record.fingerprints.valid
    search = {"trials": 8, "trial": 0, "score": 0.1, "dataset": "beauty", "valid": valid, "budget": "1cpu-min"}
    runs.append(run_of(workshop, "sasrec", "beauty", tuned=search))
    (table,) = answers_of(runs, cards_of_league).tables
    assert {row.model: len(row.row.runs) for row in table.rows} == {"sasrec:cpu": 2, "sasrec:tuned-8": 1}
    assert not [cell for cell in table.missing if cell.entry in ("sasrec:cpu", "sasrec:tuned-8")]


def save_latency(folder: Path, *, p50_ms: float, machine: str, batch: int = 1, **changes: Any) -> None:
    run_id = StoredRun.open(folder).record.run_id
    lines = [(batch, p50_ms, 2 * p50_ms, 1e3 / p50_ms), *([(256, None, None, 1000.0)] if batch == 1 else [])]
    found = Latency(
        run_id=run_id,
        row_name="row",
        dataset="beauty",
        measured=datetime(2026, 1, 1, tzinfo=UTC),
        code="1.0",
        machine=machine,
        k=10,
        view="unseen",
        n_users=100,
        batches=tuple(
            BatchLatency(batch=size, n_calls=20, users_per_s=rate, p50_ms=p50, p95_ms=p95, p99_ms=None) for size, p50, p95, rate in lines
        ),
    )
    (folder / LATENCY_FILE).write_text(found.model_copy(update=changes).to_json())


def test_protocols_of_one_data_set_are_compared(workshop: Any, cards_of_league: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.reporting.answers.LEAST_MODELS", 3)
    runs = [run_of(workshop, model, "ml-100k") for model in SKILLS]
    shuffled = {"protocol": {"split": "leave-one-out", "ties": "shuffle=1", "views": ("keep", "unseen"), "list_length": 50}, "split": 4}
    runs += [run_of(workshop, model, "ml-100k", **shuffled) for model in ("popularity", "sasrec", "tiger")]
    found = answers_of(runs, cards_of_league)
    between = {(one.one, one.other): one for one in found.agreements}
    across = between[("leave-one-out", "keep"), ("shuffled-ties", "keep")]
    assert (across.dataset, across.n_models) == ("ml-100k", 3)
    assert -1 <= across.tau.low <= across.tau.value <= across.tau.high <= 1
    assert (("leave-one-out", "keep"), ("leave-one-out", "unseen")) in between
    assert not any(one.one[0] != one.other[0] and one.one[1] != one.other[1] for one in found.agreements)
    assert found.answers == ()  # one data set answers nothing across data sets


def test_the_page_follows_from_the_ranks_and_verify_says_where_it_does_not(workshop: Any, cards_of_league: Any, tmp_path: Path) -> None:
    runs = [run_of(workshop, model, dataset) for dataset in ("beauty", "sports") for model in SKILLS]
    boards = tmp_path / "boards"
    publish(boards, runs, cards_of_league)
    page = boards / "answer.md"
    text = page.read_text()
    assert "## Leave-one-out, view `keep`" in text
    assert "is no comparison." in text  # of strengths of models without a data set in common
    assert "by class of data sets, as each class has its own budget (tiny: 3cpu-min)" in text
    assert "[the answer](answer.md)" in (boards / "index.md").read_text()
    assert "The league: 3cpu-min" in (boards / "beauty.md").read_text()
    figures = (boards / "index.html").read_text()
    found = json.loads(figures.split('<script type="application/json" id="figures">')[1].split("</script>")[0])["answers"]
    assert [len(one["rows"]) for one in found] == [4, 4]
    assert verify(boards, cards_of_league).n_pages == 5
    before = next(line for line in text.splitlines() if line.startswith("| sasrec:cpu | sequential | 2 of 2 |"))
    strength = before.split(" | ")[3]
    page.write_text(text.replace(before, before.replace(strength, "9.99 [9.00, 9.99]"), 1))
    with pytest.raises(VerifyFailed, match=r"answer\.md"):
        verify(boards, cards_of_league)


def test_without_a_row_of_a_league_there_is_no_page(workshop: Any, cards_of_league: Any, tmp_path: Path) -> None:
    publish(tmp_path / "boards", [workshop.run()], cards_of_league)
    assert not (tmp_path / "boards" / "answer.md").exists()
    assert "the answer" not in (tmp_path / "boards" / "index.md").read_text()
