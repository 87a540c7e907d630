"""Scores at code level and at item level: by hand, against slow references, and what must hold for any codes."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import Histories, Queries, Rankings, Targets, View
from recbench.evaluation import CodePlaces, CodeTable, code_groups, collision_figures, level_figures, places_in_lists
from recbench.evaluation.code_levels import KINDS, LEVELS
from recbench.evaluation.metrics.places import discounts
from tests.evaluation.scored import Scored, random_scored, slow_metric

N_ITEMS = 12
groups_of_items = st.lists(st.integers(0, 5), min_size=N_ITEMS, max_size=N_ITEMS).map(
    lambda codes: np.unique(codes, return_inverse=True)[1]
)


def longs(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def queries_of(histories: Sequence[Sequence[int]], users: Sequence[int] | None = None) -> Queries:
    n = len(histories)
    user = np.arange(n, dtype=np.int32) if users is None else np.array(users, np.int32)
    return Queries(Histories.from_lists(histories), user, np.array([f"U{row}" for row in user], dtype=object))


def lists_of(*lists: list[int], view: View = "keep") -> Rankings:
    items = np.array([lists], dtype=np.int32)
    return Rankings((view,), items, np.zeros(items.shape, np.float32))


def one(places: CodePlaces, level: str, kind: str, k: int) -> float:
    (value,) = places.values(level, kind, k)
    return float(value)


def scored_by_code(seed: int, group: np.ndarray) -> Scored:
    """Users with a history and a target each; the items of a code have one score, those of different codes different ones."""
    rng = np.random.default_rng(seed)
    plain = random_scored(rng, n_items=len(group))
    score_BC = np.argsort(rng.random((len(plain.histories), int(group.max()) + 1)), axis=1)
    return Scored(score_BC[:, group].astype(np.float32), plain.histories, plain.targets)


def by_hand() -> CodePlaces:
    """Items 1, 2, 3 have the code a, 4 has b, 5 and 6 have c; b scores more than a, a more than c; 2 is asked for."""
    return CodePlaces.of_scores(np.array([[2.0, 3.0, 1.0]]), np.array([[3, 1, 2]]), longs(0), longs(1))


def test_a_code_of_three_items_behind_another_code() -> None:
    places = by_hand()
    assert (places.better_codes[0], places.better_items[0], places.group[0], places.before[0]) == (1, 1, 3, 1)
    assert one(places, "sid", "recall", 3) == 1
    assert one(places, "sid", "ndcg", 3) == pytest.approx(1 / math.log2(3))
    assert one(places, "item_random", "recall", 3) == pytest.approx(2 / 3)
    assert one(places, "item_random", "ndcg", 3) == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / 3)
    assert one(places, "item_by_row", "recall", 3) == 1
    assert one(places, "item_by_row", "ndcg", 3) == pytest.approx(1 / 2)
    assert one(places, "item_best", "ndcg", 3) == pytest.approx(1 / math.log2(3))
    assert one(places, "item_worst", "recall", 3) == 0
    assert one(places, "item_worst", "recall", 4) == 1


def test_lists_of_items_say_the_same() -> None:
    # Rows begin at 0: items 1 to 6 of the example are rows 0 to 5.
    places = places_in_lists(lists_of([3, 0, 1, 2, 4, 5]), "keep", longs(0, 0, 0, 1, 2, 2), Targets.from_lists([[1]]), queries_of([[]]))
    for level in LEVELS:
        for kind in KINDS:
            assert one(places, level, kind, 3) == one(by_hand(), level, kind, 3)


def test_items_of_the_history_are_no_candidates() -> None:
    group = longs(0, 0, 0, 1, 1, 2)
    rankings = lists_of([3, 1, 2, 5], [5, 0, 2, 3], [3, 4, 5, 1], view="unseen")
    queries = queries_of([[0, 4, 0], [4, 4, 1], [2, 0]])
    places = places_in_lists(rankings, "unseen", group, Targets.from_lists([[2], [2], [0]]), queries)
    # Row 4 is out, so one item stands before; row 0 is out of the target's code. Row 1 is out of it in the second query.
    assert places.better_items.tolist()[:2] == [1, 1]
    assert places.group.tolist()[:2] == [2, 2]
    assert places.before.tolist()[:2] == [1, 1]
    # The third target stands in the history: a miss at every level, although another item of its code is listed.
    assert places.is_found.tolist() == [True, True, False]
    assert not places.is_open[2]
    assert [one_of[2] for level in LEVELS for one_of in [places.values(level, "recall", 10)]] == [0] * len(LEVELS)
    keep = places_in_lists(
        Rankings(("keep",), rankings.items, rankings.scores), "keep", group, Targets.from_lists([[2], [2], [0]]), queries
    )
    assert keep.better_items.tolist() == [2, 1, 3]
    assert keep.group.tolist() == [3, 3, 3]


@given(groups_of_items, st.integers(0, 50), st.sampled_from(["keep", "unseen"]))
def test_whole_lists_and_scores_of_codes_agree(group: np.ndarray, seed: int, view: View) -> None:
    made = scored_by_code(seed, group)
    found = places_in_lists(made.rankings(N_ITEMS), view, group, made.targets, made.queries())
    for row, (target,) in enumerate(made.targets[row] for row in range(len(made.targets))):
        seen = set(made.histories[row].tolist()) if view == "unseen" else set()
        if target in seen:
            assert not found.is_found[row]
            continue
        left = [item for item in range(N_ITEMS) if item not in seen]
        candidates = np.bincount(group[left], minlength=int(group.max()) + 1)
        score = np.array([made.scores[row, group == code].max() for code in range(len(candidates))])
        before = sum(group[item] == group[target] and item < target for item in left)
        one_row = CodePlaces.of_scores(score[None], candidates[None], group[[target]], longs(before))
        for name in ("better_codes", "better_items", "group", "before", "is_found"):
            assert getattr(found, name)[row] == getattr(one_row, name)[0]


@given(st.integers(0, 200), st.sampled_from(["keep", "unseen"]), st.integers(1, N_ITEMS))
def test_codes_of_single_items_score_as_items_do(seed: int, view: View, k: int) -> None:
    made = random_scored(np.random.default_rng(seed), n_items=N_ITEMS)
    rankings = made.rankings(N_ITEMS)
    places = places_in_lists(rankings, view, np.arange(N_ITEMS), made.targets, made.queries())
    for level in LEVELS:
        for kind in KINDS:
            plain = [
                slow_metric(f"{kind}@{k}", [item for item in items if item >= 0], list(target))
                for items, target in zip(rankings.view(view), (made.targets[row] for row in range(len(made.targets))), strict=True)
            ]
            np.testing.assert_allclose(places.values(level, kind, k), plain)


@given(groups_of_items, st.integers(0, 200), st.integers(1, N_ITEMS), st.integers(2, N_ITEMS))
def test_no_item_level_exceeds_the_code_level_and_merging_codes_never_lowers_it(group: np.ndarray, seed: int, k: int, length: int) -> None:
    made = random_scored(np.random.default_rng(seed), n_items=N_ITEMS, levels=100)
    rankings = made.rankings(length)
    merged = np.unique(np.where(group == group[seed % N_ITEMS], group[(seed + 1) % N_ITEMS], group), return_inverse=True)[1]
    for view in rankings.views:
        places = places_in_lists(rankings, view, group, made.targets, made.queries())
        coarser = places_in_lists(rankings, view, merged, made.targets, made.queries())
        for kind in KINDS:
            sid = places.values("sid", kind, k)
            assert all((places.values(level, kind, k) <= sid + 1e-12).all() for level in LEVELS)
            assert (places.values("item_worst", kind, k) <= places.values("item_random", kind, k) + 1e-12).all()
            assert (places.values("item_random", kind, k) <= places.values("item_best", kind, k) + 1e-12).all()
            assert (coarser.values("sid", kind, k) >= sid - 1e-12).all()


def test_the_order_of_rows_averages_to_chance() -> None:
    rng = np.random.default_rng(0)
    group = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3], np.int64)
    target, k, draws = 1, 4, 1_000
    by_row = dict.fromkeys(KINDS, 0.0)
    for _ in range(draws):
        new_row = rng.permutation(len(group))
        renumbered = np.empty_like(group)
        renumbered[new_row] = group
        place_of_code = longs(1, 2, 3, 0)
        in_order = np.argsort(place_of_code[renumbered], kind="stable").tolist()
        asked = Targets.from_lists([[int(new_row[target])]])
        places = places_in_lists(lists_of(in_order), "keep", renumbered, asked, queries_of([[]]))
        for kind in KINDS:
            by_row[kind] += one(places, "item_by_row", kind, k) / draws
    assert by_row["recall"] == pytest.approx(one(places, "item_random", "recall", k), abs=0.05)
    assert by_row["ndcg"] == pytest.approx(one(places, "item_random", "ndcg", k), abs=0.03)


def test_lists_that_end_too_soon_leave_users_undecided() -> None:
    table = CodeTable(np.array([[0], [0], [0], [1], [2], [3]], np.int32), (4,))
    # The first list holds two codes and might go on with the target's; the second found it.
    figures = level_figures(table, lists_of([0, 1, 3], [0, 3, 4]), Targets.from_lists([[5], [4]]), queries_of([[], []]), cutoffs=(1, 2, 3))
    assert figures["codes_undecided@1_keep"] == 0
    assert figures["codes_undecided@2_keep"] == 0
    assert not [name for name in figures if "@3" in name]  # lists of three say nothing about three codes that they may not hold
    longer = level_figures(table, lists_of([0, 1, 2, 3]), Targets.from_lists([[5]]), queries_of([[]]), cutoffs=(3,))
    assert longer["codes_undecided@3_keep"] == 1
    assert longer["codes_sid_recall@3_keep"] == 0
    ended = level_figures(table, lists_of([0, 1, 2, -1]), Targets.from_lists([[5]]), queries_of([[]]), cutoffs=(3,))
    assert ended["codes_undecided@3_keep"] == 0  # the model had no more to say


def test_figures_of_a_record() -> None:
    # Items 0 to 2 differ in the level that tells apart alone; the model asks for item 1 of them last.
    table = CodeTable(np.array([[7, 0], [7, 1], [7, 2], [8, 0], [9, 0]], np.int32), (10, 3), n_extra=1)
    rankings = lists_of([3, 2, 0, 1], [4, 3, 0, 1])
    targets = Targets.from_lists([[1], [3]])
    figures = level_figures(table, rankings, targets, queries_of([[], []]), cutoffs=(2,))
    second = discounts(2)[1]
    assert figures["codes_sid_recall@2_keep"] == 1
    assert figures["codes_sid_ndcg@2_keep"] == pytest.approx(second)
    assert figures["codes_item_random_recall@2_keep"] == pytest.approx((1 / 3 + 1) / 2)
    assert figures["codes_item_best_recall@2_keep"] == 1
    assert figures["codes_item_worst_recall@2_keep"] == 0.5
    assert figures["codes_inflation_recall@2_keep"] == pytest.approx(1.5)
    assert figures["codes_sid_ndcg@2_keep_low"] == figures["codes_sid_ndcg@2_keep_high"] == pytest.approx(second)  # both users alike
    assert collision_figures(table, targets) == {"codes_targets_in_groups": 0.5, "codes_mean_1_over_g": pytest.approx(2 / 3)}
    assert collision_figures(table, Targets.from_lists([[]])) == {}
    assert level_figures(table, rankings, Targets.from_lists([[1, 2], [3]]), queries_of([[], []]), cutoffs=(2,)) == {}


def test_a_user_who_asks_twice_counts_once() -> None:
    table = CodeTable(np.array([[0], [1], [2], [3]], np.int32), (4,))
    rankings, targets = lists_of([0, 1, 2], [0, 1, 2], [0, 1, 2]), Targets.from_lists([[0], [2], [2]])
    figures = level_figures(table, rankings, targets, queries_of([[], [], []], users=[4, 4, 9]), cutoffs=(1,))
    assert figures["codes_sid_recall@1_keep"] == 0.25
    assert (figures["codes_sid_recall@1_keep_low"], figures["codes_sid_recall@1_keep_high"]) == (0, 0.5)
    assert "codes_inflation_recall@1_keep" in figures
    nobody = level_figures(table, lists_of([0, 1]), Targets.from_lists([[3]]), queries_of([[]]), cutoffs=(1,))
    assert "codes_inflation_recall@1_keep" not in nobody  # nothing was hit: there is no ratio


def test_codes_without_what_only_tells_apart_make_the_groups() -> None:
    code = np.array([[3, 1, 0], [3, 1, 1], [3, 2, -1], [4, -1, -1]], np.int32)
    assert len(set(code_groups(CodeTable(code, (5, 5, 5))))) == 4
    numbered = CodeTable(code, (5, 5, 5), is_numbered=np.array([True, True, False, False]), shared_tokens=True)
    group = code_groups(numbered)
    assert group[0] == group[1]
    assert len(set(group)) == 3
