"""Rows, seeds, marks, missing baselines, sections, verdicts."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core.ranking import VIEWS
from recbench.evaluation import compare_with_best, two_level_bootstrap
from recbench.reporting import Board, Figure, Section, StoredRun, make_boards
from recbench.reporting.grids import accuracy, cost, made, verdict
from recbench.reporting.markdown import escape
from recbench.reporting.verdicts import judge


def board_of(*folders: Path, cards: Any = None) -> Board:
    (board,) = make_boards([StoredRun.open(folder) for folder in folders], cards or {})
    return board


def section_of(*folders: Path, cards: Any = None) -> Section:
    (section,) = board_of(*folders, cards=cards).sections
    return section


def test_seeds_merge_into_one_row_with_mean_deviation_and_two_level_interval(workshop: Any) -> None:
    runs = [workshop.run(seed=seed) for seed in range(3)]
    section = section_of(*runs)
    (board_row,) = section.rows
    opened = [StoredRun.open(run) for run in runs]
    values = [run.record.metrics["keep"]["ndcg@10"].value for run in opened]
    figure = board_row.row.figure("ndcg@10", "keep")
    assert figure is not None
    assert figure.value == pytest.approx(statistics.fmean(values))
    assert figure.std == pytest.approx(np.std(values, ddof=1))
    users = np.stack([run.per_user("ndcg@10", "keep") for run in opened])
    interval = two_level_bootstrap(users, np.zeros(users.shape[-1]))
    assert (figure.low, figure.high) == (interval.low, interval.high)
    assert "3 seeds" in board_row.marks("keep")


def test_one_seed_takes_its_interval_from_the_record_and_says_so(workshop: Any) -> None:
    run = workshop.run()
    (board_row,) = section_of(run).rows
    interval = StoredRun.open(run).record.metrics["unseen"]["recall@10"]
    assert board_row.row.figure("recall@10", "unseen") == Figure(interval.value, interval.low, interval.high)
    assert board_row.marks("keep") == ["1 seed"]


def test_the_newest_record_of_a_seed_counts(workshop: Any) -> None:
    old = workshop.run(started="2026-01-01T00:00:00Z", skill=0.9)
    new = workshop.run(started="2026-02-01T00:00:00Z", skill=0.1)
    section = section_of(new, old)
    (board_row,) = section.rows
    assert [run.folder for run in board_row.row.runs] == [new]
    assert [(line.run_id, line.state) for line in made(section)] == [(new.name, "counts"), (old.name, "superseded")]


@pytest.mark.parametrize(
    "changes",
    [
        {"config_hash": "a" * 64},
        {"budget": "60 seconds"},
        {"model": {"backbone": "minilm"}},
        {"list_length": 20},
        {"views": ("keep",)},
    ],
)
def test_what_differs_in_more_than_the_seed_stands_in_a_row_of_its_own(workshop: Any, changes: dict[str, Any]) -> None:
    section = section_of(workshop.run(seed=0), workshop.run(seed=1, **changes))
    assert [len(board_row.row.runs) for board_row in section.rows] == [1, 1]
    labels = [board_row.row.label for board_row in section.rows]
    assert len(set(labels)) == 2


def test_names_hold_no_more_than_sets_rows_apart(workshop: Any) -> None:
    runs = [workshop.run(config_hash=digit * 64) for digit in "ab"]
    assert {row.row.label for row in section_of(*runs).rows} == {f"sasrec:paper, #{digit * 8}" for digit in "ab"}


def test_a_row_with_searched_settings_says_so_in_its_name(workshop: Any) -> None:
    won = {"trials": 20, "trial": 3, "score": 0.1, "dataset": "toy"}
    here = workshop.run(config_hash="b" * 64, tuned=None)
    valid = StoredRun.open(here).record.fingerprints.valid
    runs = [
        here,
        workshop.run(config_hash="c" * 64, tuned={**won, "valid": valid}),
        workshop.run(config_hash="d" * 64, tuned={**won, "dataset": "other", "valid": "0" * 64}),
    ]
    labels = {row.row.label for row in section_of(*runs).rows}
    assert labels == {"sasrec:paper", "sasrec:paper, tuned-20", "sasrec:paper, tuned-20 on other"}


def test_mixed_code_and_uncommitted_changes_are_marked(workshop: Any) -> None:
    runs = [workshop.run(seed=0), workshop.run(seed=1, code={"commit": "d" * 40, "is_dirty": True})]
    (board_row,) = section_of(*runs).rows
    assert board_row.marks("keep") == ["2 seeds", "mixed code versions", "uncommitted changes"]


def test_a_model_below_a_trivial_baseline_is_marked_with_which(workshop: Any) -> None:
    runs = [workshop.run(skill=0.1), workshop.trivial("popularity", skill=0.3), workshop.trivial("ease", skill=0.6)]
    runs += [workshop.trivial("ease", "decay", skill=0.5), workshop.trivial("random", skill=0.0)]
    marks = {board_row.row.label: board_row.marks("keep") for board_row in section_of(*runs).rows}
    assert marks["sasrec:paper"][0] == "below ease, popularity"
    assert not any("below" in mark for label, found in marks.items() if label != "sasrec:paper" for mark in found)


def test_an_undertrained_seed_marks_the_row(workshop: Any) -> None:
    runs = [workshop.run(seed=0), workshop.run(seed=1, fit={"examples_seen": 300})]
    (row,) = section_of(*runs).rows
    assert row.marks("keep") == ["undertrained: 0.3 passes", "2 seeds"]


def test_marks_belong_to_the_view_they_stand_beside(workshop: Any) -> None:
    runs = [workshop.run(skill=0.3), workshop.trivial("popularity", skill=0.6, views=("keep",))]
    (marked,) = [board_row for board_row in section_of(*runs).rows if board_row.row.label == "sasrec:paper"]
    assert marked.marks("keep")[0] == "below popularity"
    assert marked.marks("unseen") == ["1 seed"]


def test_rows_are_sorted_by_ndcg_at_10_keep_and_those_without_the_view_come_last(workshop: Any) -> None:
    runs = [workshop.run("weak", skill=0.1), workshop.run("strong", skill=0.8), workshop.run("unseen-only", skill=0.9, views=("unseen",))]
    section = section_of(*runs)
    labels = [board_row.row.label for board_row in section.rows]
    assert labels == ["strong:paper", "weak:paper", "unseen-only:paper, unseen only"]
    grid = accuracy(section, "keep")
    assert set(grid.rows[2][2:8]) == {"–"}


def test_a_place_behind_the_end_of_the_lists_is_an_en_dash(workshop: Any) -> None:
    grid = accuracy(section_of(workshop.run(list_length=10)), "keep")
    cells = dict(zip(grid.header, grid.rows[0], strict=True))
    assert cells["Recall@20"] == cells["NDCG@20"] == "–"
    assert cells["NDCG@5"] != "–"


def test_missing_baselines_are_shown(workshop: Any, make_card: Any) -> None:
    cards = {
        "popularity": make_card("popularity", is_trivial=True),
        "ease": make_card("ease", is_trivial=True, max_items=50),
        "last-item-markov": make_card("last-item-markov", is_trivial=True),
        "recent": make_card("recent", is_trivial=True, needs=["time"]),
        "gram": make_card("gram"),
    }
    run = workshop.trivial("popularity", dataset={"time": "position"}, protocol={"ties": "shuffle=2"})
    section = section_of(run, cards=cards)
    assert [(baseline.model, baseline.state) for baseline in section.missing] == [
        ("ease", "not applicable"),
        ("last-item-markov", "missing"),
        ("recent", "not applicable"),
    ]
    assert section.missing[1].reason == "recbench run -m last-item-markov -d toy --ties shuffle=2"
    assert [row[1] for row in accuracy(section, "keep").rows][1:] == ["ease", "last-item-markov", "recent"]


def test_protocols_and_orders_of_ties_stand_in_sections_of_their_own(workshop: Any) -> None:
    runs = [
        workshop.run(protocol={"ties": "shuffle=1"}, split=1),
        workshop.run(protocol={"split": "temporal", "split_options": {"quantile": 0.9}}, split=2),
        workshop.run(),
    ]
    assert [section.title for section in board_of(*runs).sections] == [
        "leave-one-out, ties in the order of the source",
        "leave-one-out, ties shuffle=1",
        "temporal (quantile=0.9), ties in the order of the source",
    ]


def test_every_row_is_tested_against_the_best(workshop: Any) -> None:
    runs = [workshop.run("a", skill=0.7), workshop.run("b", skill=0.2), workshop.run("c", skill=0.5)]
    section = section_of(*runs)
    users = {f"{StoredRun.open(run).record.model.name}:paper": StoredRun.open(run).per_user("ndcg@10", "keep") for run in runs}
    assert list(section.tests) == compare_with_best(users)
    assert [test.best for test in section.tests] == ["a:paper", "a:paper"]
    assert section.tests[0].p_holm >= section.tests[0].p


def test_costs_count_only_where_the_run_had_the_machine_to_itself(workshop: Any) -> None:
    alone = workshop.run(seed=0, cost={"train_s": 10.0})
    crowded = workshop.run(seed=1, cost={"train_s": 99.0}, device={"jobs": 2})
    grid = cost(section_of(alone, crowded, workshop.run("b", device={"jobs": 2}, cost={"train_s": 7.0})))
    training = {row[0]: row[3] for row in grid.rows}
    assert training == {"sasrec:paper": "10.0", "b:paper": "7.0 †"}


@pytest.mark.parametrize(
    ("measured", "published", "verdict"),
    [
        (Figure(0.100, 0.099, 0.101), 0.105, "reproduced"),
        (Figure(0.095, 0.094, 0.096), 0.100, "reproduced"),
        (Figure(0.0949, 0.094, 0.096), 0.100, "below"),
        (Figure(0.080, 0.060, 0.100), 0.099, "reproduced"),
        (Figure(0.1051, 0.105, 0.106), 0.100, "above"),
        (Figure(0.080, 0.070, 0.090), 0.100, "below"),
    ],
)
def test_verdicts(measured: Figure, published: float, verdict: str) -> None:
    assert judge(measured, published) == verdict


T5 = {"backbone": "t5-small", "text": ("title", "brand")}
READS = {"backbone": "t5-small", "reads_text": True}
PUBLISHED = {"dataset": "toy", "view": "keep", "metrics": {"ndcg@10": 0.2}, "source": "A paper", "kind": "paper"}


@pytest.mark.parametrize(
    ("preset", "published", "changes", "reason"),
    [
        ("cpu", {}, {}, "preset cpu, published with paper"),
        ("paper", {"view": "unknown"}, {}, "view unknown"),
        ("paper", {"backbone": "t5-small"}, {"model": {"backbone": "minilm"}}, "other backbone: minilm, published with t5-small"),
        ("paper", {}, {"model": {"backbone": "minilm"}}, "other backbone: minilm, published with none"),
        (
            "paper",
            T5,
            {"model": {"backbone": "/models/t5-small (0123456789ab)"}},
            "other backbone: /models/t5-small (0123456789ab), published with t5-small",
        ),
        ("paper", T5, {"model": {"backbone": "hf:google/T5-small@0f3e", "reads_text": True, "text": ("brand", "title")}}, ""),
        ("paper", T5, {"model": {"backbone": "t5-small (0123456789ab)", "reads_text": True, "text": ("brand", "title")}}, ""),
        ("paper", T5, {"model": READS | {"text": ("title",)}}, "other text: title, published with brand, title"),
        ("paper", T5, {"model": READS}, "text unknown: of this run"),
        (
            "paper",
            T5 | {"text": None},
            {"model": READS | {"text": ("title",)}},
            "text unknown: the source does not say which columns it reads",
        ),
        ("paper", {"text": ("title",)}, {}, "other text: none, published with title"),
        ("paper", {}, {"protocol": {"ties": "shuffle=3"}}, "other order of ties: shuffle=3"),
        ("paper", {}, {"protocol": {"split": "temporal"}}, "other split: temporal"),
        ("paper", {}, {"budget": "60 seconds"}, "training bounded to 60 seconds"),
        ("paper", {}, {"config": {"width": 128}}, "other settings: width=128"),
        ("paper", {"view": "unseen"}, {"views": ("keep",)}, "the run has no lists of the view unseen"),
        ("paper", {}, {}, ""),
    ],
)
def test_only_the_published_setting_gets_a_verdict(
    workshop: Any, make_card: Any, preset: str, published: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    cards = {"sasrec": make_card("sasrec", published=[PUBLISHED | published])}
    (board_row,) = section_of(workshop.run("sasrec", preset, **changes), cards=cards).rows
    (figure,) = board_row.published
    assert figure.reason == reason
    assert (figure.verdict in ("not comparable", "not measured")) == bool(reason)
    assert (figure.verdict == "not measured") == (figure.measured is None)


@pytest.mark.parametrize(
    ("metric", "changes", "reason"),
    [
        ("recall@200", {}, "lists hold 50 places"),
        ("ndcg@50", {"list_length": 20}, "lists hold 20 places"),
        ("recall@3", {}, "figures are cut off at 5, 10, 20, 50"),
        ("recal@10", {}, "there is no metric recal@10"),
    ],
)
def test_a_published_figure_that_cannot_be_measured_says_why(
    workshop: Any, make_card: Any, metric: str, changes: dict[str, Any], reason: str
) -> None:
    cards = {"sasrec": make_card("sasrec", published=[PUBLISHED | {"metrics": {metric: 0.2}}])}
    (board_row,) = section_of(workshop.run("sasrec", "paper", **changes), cards=cards).rows
    (figure,) = board_row.published
    assert (figure.verdict, figure.reason, figure.measured, figure.published) == ("not measured", reason, None, 0.2)
    assert verdict(figure) == f"not measured ({reason})"


def test_a_row_that_departs_from_its_preset_says_so(workshop: Any, make_card: Any) -> None:
    cards = {"sasrec": make_card("sasrec")}
    (board_row,) = section_of(workshop.run("sasrec", "cpu", config={"width": 8}), cards=cards).rows
    assert board_row.marks("keep") == ["cpu", "not as its preset: width=8", "1 seed"]
    (board_row,) = section_of(workshop.run("sasrec", "cpu"), cards=cards).rows
    assert board_row.marks("keep") == ["cpu", "1 seed"]


def test_published_numbers_of_other_data_sets_are_left_out(workshop: Any, make_card: Any) -> None:
    cards = {"sasrec": make_card("sasrec", published=[PUBLISHED | {"dataset": "beauty"}])}
    (board_row,) = section_of(workshop.run(), cards=cards).rows
    assert board_row.published == ()


def test_slices_and_figures_beyond_accuracy_are_means_over_seeds(workshop: Any) -> None:
    runs = [workshop.run(seed=seed) for seed in range(2)]
    (board_row,) = section_of(*runs).rows
    records = [StoredRun.open(run).record for run in runs]
    for view in VIEWS:
        expected = statistics.fmean(record.beyond[view]["coverage@10"] for record in records)
        assert board_row.row.beyond(view)["coverage@10"] == pytest.approx(expected)
        tails = [part for record in records for part in record.slices if (part.group, part.view) == ("mid", view)]
        found = next(part for part in board_row.row.slices(view) if part.group == "mid")
        assert found.value == pytest.approx(statistics.fmean(part.metrics["ndcg@10"].value for part in tails))
        assert found.n == tails[0].n


def test_markdown_shows_text_as_it_is() -> None:
    assert escape("a|b *c* `d` <e>\n[f](g)") == r"a\|b \*c\* \`d\` \<e\> [f]\(g)"
    assert escape("0.1 [0.0, 0.2]") == "0.1 [0.0, 0.2]"


def test_badges_say_where_settings_come_from(workshop: Any, cards: Any) -> None:
    tuned = {"trials": 20, "trial": 3, "score": 0.1, "dataset": "toy", "valid": StoredRun.open(workshop.run()).record.fingerprints.valid}

    def badge(*names: str, **changes: Any) -> str:
        (board,) = make_boards([StoredRun.open(workshop.run(*names, **changes))], cards)
        return board.sections[0].rows[0].badge

    assert badge("sasrec", "paper") == "paper-config"
    assert badge("sasrec", "paper", config={"width": 65}) == ""
    assert badge("sasrec", "paper", budget="20m") == ""
    assert badge("unheard-of", "paper") == ""
    assert badge("sasrec", "cpu") == badge("sasrec", "cpu-small") == "cpu"
    assert badge("sasrec", "default") == ""
    assert badge("sasrec", "cpu", tuned=tuned) == "tuned-20"
    assert badge("sasrec", "paper", tuned=tuned | {"valid": "other"}) == "tuned-20 on toy"
    runs = [StoredRun.open(workshop.run("sasrec", "cpu", seed=0, tuned=tuned)), StoredRun.open(workshop.run("sasrec", "cpu", seed=1))]
    (board,) = make_boards(runs, cards)
    assert board.sections[0].rows[0].badge == "tuned-20 / cpu"
