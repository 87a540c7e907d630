"""What a board says of its test, from figures put into its records by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from recbench.reporting import StoredRun, make_boards
from recbench.reporting.answers import NO_ANSWERS
from recbench.reporting.markdown import escape, render_pages
from recbench.reporting.page import figures_json
from recbench.reporting.rewards import rewards

SLICE = "relation of target to last item"
SIZES = {"seen pair": 30, "seen pair, reversed": 4, "two steps": 10, "shared neighbour": 5, "none of these": 51}
"""Of 100 users; no target has one of the texts most like its last item's."""


@pytest.fixture
def shortcut_cards(make_card: Any) -> dict[str, Any]:
    """Two models that take shortcuts in this task, one that does in another, one that takes none."""
    return {
        "pairs": make_card("pairs", shortcut="the counter of pairs"),
        "graph": make_card("graph", shortcut="the untrained graph"),
        "owners": make_card("owners", shortcut="the owners of bundles", tasks=["bundle"]),
        "sasrec": make_card("sasrec"),
    }


@pytest.fixture
def finder(workshop: Any) -> Any:
    """Makes runs of which recall@10 is known, over all users and per group."""

    def run(model: str, recall: float, groups: dict[str, float], sizes: dict[str, int] = SIZES, /, **changes: Any) -> Path:
        def interval(value: float) -> dict[str, float]:
            return {"value": value, "low": value, "high": value}

        figures = {name: interval(recall / 2) for name in ("recall@5", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20")}
        slices = [
            {"slice": SLICE, "group": group, "view": "keep", "n": n, "metrics": {"recall@10": interval(groups[group])}}
            for group, n in sizes.items()
            if group in groups
        ]
        defaults: dict[str, Any] = {
            "metrics": {"keep": figures | {"recall@10": interval(recall)}},
            "slices": slices,
            "targets": {"share_in_history": 0.0, "share_tied": None, "n_cold": 0},
        }
        folder: Path = workshop.run(model, **{**defaults, **changes})
        return folder

    return run


UNTRAINED = {"fit": {"parameters_trainable": 0}}


def paragraphs(cards: Any, *folders: Path) -> list[str]:
    ((section,),) = [board.sections for board in make_boards([StoredRun.open(folder) for folder in folders], cards)]
    return rewards(section)


def test_all_that_records_hold_is_said(finder: Any, shortcut_cards: Any) -> None:
    groups = dict.fromkeys(SIZES, 0.1)
    runs = [
        finder("sasrec", 0.25, groups | {"seen pair": 0.5, "none of these": 0.02}),
        finder("graph", 0.2, groups | {"seen pair": 0.6, "none of these": 0.0}, **UNTRAINED),
        finder("pairs", 0.12, groups, **UNTRAINED),
    ]
    leads, found = paragraphs(shortcut_cards, *runs)
    assert leads == (
        "How the targets relate to the last item of the history: 30.0 % came right after it "
        "somewhere in the train part, 4.0 % came right before it, 10.0 % came two such steps after it, 5.0 % had "
        "a neighbour in common with it. "
        "Most (51.0 %) had none of these relations to it. No target stands in the history, so that showing it again finds none."
    )
    assert found == (
        "In the first 10 places (view keep) the untrained graph (graph:paper) finds 20.0 % of the targets, the counter of pairs "
        "(pairs:paper) 12.0 %, the best trained row (sasrec:paper) 25.0 %. The trained row finds more than any of these shortcuts, "
        '1.25 times as many as the untrained graph. Of the targets, the trained row finds 50.0 % of those in the group "seen pair" '
        "(the untrained graph: 60.0 %) and "
        '2.0 % of those in the group "none of these" (the untrained graph: 0 %). '
        # 0.5 of 30 users are 15 of the 25 hits.
        'Most of what it finds (60.0 %) is in the group "seen pair".'
    )


@pytest.mark.parametrize(
    ("trained", "sentence"),
    [
        (0.1, "The trained row finds fewer than the counter of pairs."),
        (0.2002, "The trained row finds as many as the counter of pairs, to the decimal shown."),
        (0.3, "The trained row finds more than any of these shortcuts, 1.50 times as many as the counter of pairs."),
    ],
)
def test_the_trained_row_is_held_against_the_shortcut_that_finds_most(
    finder: Any, shortcut_cards: Any, trained: float, sentence: str
) -> None:
    runs = [finder("sasrec", trained, {}), finder("pairs", 0.2, {}, **UNTRAINED), finder("graph", 0.0, {}, **UNTRAINED)]
    assert sentence in paragraphs(shortcut_cards, *runs)[1]


def test_a_shortcut_that_finds_nothing_is_no_divisor(finder: Any, shortcut_cards: Any) -> None:
    _, found = paragraphs(shortcut_cards, finder("sasrec", 0.1, {}), finder("graph", 0.0, {}, **UNTRAINED))
    assert "the untrained graph (graph:paper) finds 0 % of the targets" in found
    assert "finds more than any of these shortcuts. The view keep has no row of the counter of pairs (pairs)." in found


def test_a_row_stands_for_its_seeds_and_a_list_made_elsewhere_for_nothing(finder: Any, shortcut_cards: Any) -> None:
    inside = {"seen pair": 0.2}
    foreign = {"file": "lists.csv", "sha256": "0" * 64, "users_without_list": {}, "users_not_asked": 0, "lists_cut": 0}
    elsewhere = finder("pairs", 0.9, {}, **UNTRAINED, foreign=foreign)
    runs = [finder("sasrec", 0.1, inside, seed=0), finder("sasrec", 0.2, {"seen pair": 0.4}, seed=1)]
    _, found = paragraphs(shortcut_cards, *runs, elsewhere)
    assert "the best trained row (sasrec:paper) finds 15.0 % of the targets." in found
    assert "no row of the untrained graph (graph) or the counter of pairs (pairs)." in found
    # 0.3 of 30 users are 9 of the 15 hits.
    assert 'finds 30.0 % of those in the group "seen pair". Most of what it finds (60.0 %)' in found


def test_records_of_before_there_were_relations_leave_them_out(finder: Any, shortcut_cards: Any) -> None:
    targets = {"share_in_history": 0.0004, "share_tied": 0.4, "n_cold": 3}
    leads, found = paragraphs(shortcut_cards, finder("pairs", 0.2, {}, **UNTRAINED, targets=targets))
    assert leads == (
        "Of the targets under 0.1 % stand in the history: found by showing it again in the view keep, by nothing in unseen. "
        "Of the targets 40.0 % share their time with the event before: no time says which came last. "
        "Of the targets 3.0 % have no event in the train part: only facts about the item find them."
    )
    assert found == (
        "In the first 10 places (view keep) the counter of pairs (pairs:paper) finds 20.0 % of the targets. "
        "The view keep has no row of the untrained graph (graph). No row of the view keep was trained here."
    )


def test_users_with_several_targets_count_in_several_groups(finder: Any, shortcut_cards: Any) -> None:
    sizes = {"two steps": 70, "none of these": 80}
    targets = {"n_targets": 150, "share_in_history": 0.0, "share_tied": 0.0, "n_cold": 0}
    leads, found = paragraphs(shortcut_cards, finder("sasrec", 0.5, dict.fromkeys(sizes, 0.5), sizes, targets=targets))
    assert (
        ": 70.0 % of the users have a target that came two such steps after it, 80.0 % one that had none of these relations to it. "
        in leads
    )
    assert "finds 50.0 % of a user's targets, on average." in found
    assert "what it finds" not in found


def test_every_target_may_be_in_reach_or_none(finder: Any, shortcut_cards: Any) -> None:
    for sizes, sentence in (
        ({"seen pair": 100}, ": 100 % came right after it somewhere in the train part. That is every target."),
        ({"none of these": 100}, "Most (100 %) had none of these relations to it."),
        ({"seen pair": 50, "none of these": 50}, "The others (50.0 %) had none of these relations to it."),
    ):
        leads, _ = paragraphs(shortcut_cards, finder("sasrec", 0.5, dict.fromkeys(sizes, 0.5), sizes))
        assert sentence in leads


def test_a_name_of_a_row_is_text_whatever_it_holds(finder: Any, shortcut_cards: Any) -> None:
    run = finder("pairs", 0.2, {}, model={"row_name": "{0} %s <b>"}, fit={"parameters_trainable": 0})
    assert "(view keep) the counter of pairs ({0} %s <b>) finds 20.0 %" in paragraphs(shortcut_cards, run)[1]


def test_page_and_board_say_the_same(finder: Any, shortcut_cards: Any, tmp_path: Path) -> None:
    boards = make_boards([StoredRun.open(finder("sasrec", 0.5, dict.fromkeys(SIZES, 0.5)))], shortcut_cards)
    said = rewards(boards[0].sections[0])
    assert json.loads(figures_json(boards, NO_ANSWERS))["boards"][0]["about"]["rewards"] == said
    page = render_pages(boards, NO_ANSWERS)["toy.md"]
    assert page.index("### What this test rewards\n\n" + "\n\n".join(map(escape, said))) < page.index("### Accuracy")
