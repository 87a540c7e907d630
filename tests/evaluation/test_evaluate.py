import json
import math
from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadData, Histories, SplitMismatch, Targets
from recbench.core.records import Interval
from recbench.evaluation import (
    Evaluation,
    Exposure,
    RankTable,
    TargetFacts,
    evaluate,
    exposure_counts,
    per_user,
    ranks_of_targets,
    read_ranks,
    target_facts,
    write_ranks,
)
from recbench.tasks import NEXT_ITEM
from tests.evaluation.scored import Scored, random_scored

ONE_ITEM = np.ones(1, np.int64)
NOTHING_SHOWN = Exposure({"keep": np.zeros(1, np.int32)})


def facts_of(user: list[int], **columns: list[float] | list[bool] | None) -> TargetFacts:
    """Facts about these users' targets, all alike but for the columns given."""
    n = len(user)

    def column(name: str, default: float, kind: type) -> np.ndarray:
        return np.array(columns.get(name) or [default] * n, dtype=kind)

    return TargetFacts(
        user=np.array(user, np.int32),
        target=np.zeros(n, np.int32),
        target_count=column("target_count", 8, np.int32),
        history_length=column("history_length", 3, np.int32),
        is_tied=None if columns.get("is_tied") is None else column("is_tied", 0, np.bool_),
        in_history=column("in_history", 0, np.bool_),
        follows_last=column("follows_last", 0, np.bool_),
        history_popularity=np.ones(n),
    )


def ranks_of(user: list[int], rank: list[int], list_length: int = 10) -> RankTable:
    return RankTable(np.array(user, np.int32), np.zeros(len(user), np.int32), {"keep": np.array(rank, np.int16)}, list_length)


def evaluated(scored: Scored, k: int) -> Evaluation:
    queries, rankings = scored.queries(), scored.rankings(k)
    facts = target_facts(scored.train(), scored.histories, scored.targets, queries.user, np.arange(len(queries)) % 3 == 0)
    ranks = RankTable.of_queries(queries.user, scored.targets, ranks_of_targets(rankings, scored.targets, queries), k)
    return evaluate(ranks, facts, exposure_counts(rankings, scored.n_items), scored.train().item_counts(), NEXT_ITEM.measures)


def test_means_by_hand() -> None:
    result = evaluate(ranks_of([1, 2, 3, 4], [0, 2, -1, 9]), facts_of([1, 2, 3, 4]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    means = {name: interval.value for name, interval in result.metrics["keep"].items()}
    assert means == {
        "recall@5": 0.5,
        "recall@10": 0.75,
        "ndcg@5": pytest.approx((1 + 0.5) / 4),
        "ndcg@10": pytest.approx((1 + 0.5 + 1 / math.log2(11)) / 4),
        "mrr@5": pytest.approx((1 + 1 / 3) / 4),
        "mrr@10": pytest.approx((1 + 1 / 3 + 1 / 10) / 4),
    }
    assert all(interval.low <= interval.value <= interval.high for interval in result.metrics["keep"].values())


def test_slices_by_hand() -> None:
    user = [1, 2, 3, 4, 5, 6]
    facts = facts_of(
        user,
        target_count=[0, 5, 6, 20, 21, 1],
        history_length=[0, 5, 6, 20, 21, 500],
        is_tied=[True, True, False, False, False, False],
        in_history=[False, False, False, False, False, True],
        follows_last=[True, False, False, False, False, False],
    )
    result = evaluate(ranks_of(user, [0, -1, 1, -1, 2, 3]), facts, NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    found = {(part.slice, part.group): (part.n, part.metrics["recall@10"].value) for part in result.slices}
    assert found == {
        ("target popularity", "cold"): (1, 1.0),
        ("target popularity", "tail"): (2, 0.5),
        ("target popularity", "mid"): (2, 0.5),
        ("target popularity", "head"): (1, 1.0),
        ("history length", "none"): (1, 1.0),
        ("history length", "1-5"): (1, 0.0),
        ("history length", "6-10"): (1, 1.0),
        ("history length", "11-20"): (1, 0.0),
        ("history length", "21-50"): (1, 1.0),
        ("history length", "above 50"): (1, 1.0),
        ("target in history", "in history"): (1, 1.0),
        ("target in history", "new"): (5, 3 / 5),
        ("step from last item to target", "seen in train"): (1, 1.0),
        ("step from last item to target", "not seen"): (5, 3 / 5),
        ("time of target and event before", "tied"): (2, 0.5),
        ("time of target and event before", "untied"): (4, 3 / 4),
    }
    assert all(set(part.metrics) == {"recall@10", "ndcg@10"} for part in result.slices)


def test_unknown_times_and_empty_groups_have_no_slice() -> None:
    result = evaluate(ranks_of([1, 2], [0, 1]), facts_of([1, 2]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    groups = {(part.slice, part.group) for part in result.slices}
    assert groups == {
        ("target popularity", "mid"),
        ("history length", "1-5"),
        ("target in history", "new"),
        ("step from last item to target", "not seen"),
    }


def test_a_slice_of_sets_looks_at_the_targets_of_the_group_only() -> None:
    # User 1 has a head target at place 1 and a tail target at place 3, user 2 a tail target that is missed.
    facts = facts_of([1, 1, 2], target_count=[30, 2, 2])
    result = evaluate(ranks_of([1, 1, 2], [0, 2, -1]), facts, NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    parts = {part.group: part for part in result.slices if part.slice == "target popularity"}
    assert (parts["head"].n, parts["tail"].n) == (1, 2)
    assert parts["head"].metrics["ndcg@10"].value == 1.0
    assert parts["tail"].metrics["ndcg@10"].value == pytest.approx((0.5 + 0) / 2)
    assert "hit_rate@10" in result.metrics["keep"]
    assert result.metrics["keep"]["hit_rate@10"].value == 0.5


def test_a_user_asked_several_times_has_the_mean_over_the_queries(tmp_path: Path) -> None:
    # User 3 is asked twice and the target is on top of both lists: a perfect answer, which no set of two targets could be.
    targets = Targets.from_lists([[0], [0], [0]])
    table = RankTable.of_queries(np.array([3, 3, 7], np.int32), targets, {"keep": np.array([0, 0, -1], np.int16)}, 10)
    facts = facts_of([3, 3, 7], history_length=[3, 30, 3])
    found = evaluate(table, facts, NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    assert found.metrics["keep"]["ndcg@10"].value == pytest.approx(0.5)
    assert found.metrics["keep"]["recall@10"].value == pytest.approx(0.5)
    assert "hit_rate@10" not in found.metrics["keep"]
    np.testing.assert_allclose(per_user(table, facts, "ndcg@10", "keep"), [1.0, 0.0])
    by_length = {part.group: part.metrics["ndcg@10"].value for part in found.slices if part.slice == "history length"}
    assert by_length == {"1-5": 0.5, "21-50": 1.0}
    assert evaluate(read_ranks(write_ranks(table, tmp_path / "ranks.parquet")), facts, NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures) == found


def test_a_user_cannot_be_asked_several_times_for_sets() -> None:
    with pytest.raises(BadData, match="query 1 asks for 2 items"):
        RankTable.of_queries(np.array([3, 3], np.int32), Targets.from_lists([[0], [1, 2]]), {"keep": np.zeros(3, np.int16)}, 10)


def test_hit_rate_is_not_printed_where_it_is_recall() -> None:
    result = evaluate(ranks_of([1, 2], [0, 1]), facts_of([1, 2]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    assert not any(name.startswith("hit_rate") for name in result.metrics["keep"])


def test_places_behind_the_end_of_the_lists_are_absent() -> None:
    result = evaluate(ranks_of([1, 2], [0, 1], list_length=5), facts_of([1, 2]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    assert set(result.metrics["keep"]) == {"recall@5", "ndcg@5", "mrr@5"}
    assert result.slices == []


@pytest.mark.parametrize("largest_set", [1, 4])
def test_means_equal_the_values_per_user_and_nothing_is_nan(largest_set: int) -> None:
    scored = random_scored(np.random.default_rng(6), n_users=80, largest_set=largest_set)
    queries = scored.queries()
    result = evaluated(scored, 20)
    facts = target_facts(scored.train(), scored.histories, scored.targets, queries.user, None)
    ranks = RankTable.of_queries(queries.user, scored.targets, ranks_of_targets(scored.rankings(20), scored.targets, queries), 20)
    for view, metrics in result.metrics.items():
        assert ("hit_rate@5" in metrics) == (largest_set > 1)
        for name, interval in metrics.items():
            assert interval.value == pytest.approx(per_user(ranks, facts, name, view).mean(), abs=1e-12)
    numbers = json.dumps(
        [{v: {m: i.model_dump() for m, i in x.items()} for v, x in result.metrics.items()}, result.beyond], allow_nan=False
    )
    assert "NaN" not in numbers + "".join(part.model_dump_json() for part in result.slices)


def test_equal_input_gives_equal_digits_whatever_the_order_of_users_and_views() -> None:
    scored = random_scored(np.random.default_rng(7), n_users=70)
    first, again = evaluated(scored, 20), evaluated(scored, 20)
    assert first == again
    order = np.random.default_rng(0).permutation(70)
    shuffled = Scored(scored.scores[order], scored.histories.take(order), scored.targets.take(order))
    assert evaluated(shuffled, 20).metrics == first.metrics


def test_the_order_of_the_views_changes_nothing() -> None:
    scored = random_scored(np.random.default_rng(7), n_users=30)
    results = []
    for views in (("keep", "unseen"), ("unseen", "keep")):
        queries, rankings = scored.queries(views), scored.rankings(20, views)
        facts = target_facts(scored.train(), scored.histories, scored.targets, queries.user, None)
        ranks = RankTable.of_queries(queries.user, scored.targets, ranks_of_targets(rankings, scored.targets, queries), 20)
        results.append(evaluate(ranks, facts, exposure_counts(rankings, scored.n_items), scored.train().item_counts(), NEXT_ITEM.measures))
    assert results[0] == results[1]
    assert list(results[1].metrics) == ["keep", "unseen"]
    assert [part.view for part in results[0].slices] == [part.view for part in results[1].slices]


def test_without_users_there_are_no_metrics() -> None:
    result = evaluate(ranks_of([], []), facts_of([]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    assert result == Evaluation({}, [], {"keep": {"coverage@10": 0.0}})


def test_one_user_has_an_interval_of_one_point() -> None:
    result = evaluate(ranks_of([1], [0]), facts_of([1]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)
    assert result.metrics["keep"]["ndcg@10"] == Interval(value=1.0, low=1.0, high=1.0)


def test_ranks_and_facts_of_different_splits_are_refused() -> None:
    with pytest.raises(SplitMismatch, match="Row 1 is about user 2"):
        evaluate(ranks_of([1, 2], [0, 1]), facts_of([1, 3]), NOTHING_SHOWN, ONE_ITEM, NEXT_ITEM.measures)


def test_random_scores_hit_in_proportion_to_the_length_of_the_list() -> None:
    rng = np.random.default_rng(12)
    scored = Scored(
        rng.random((3000, 200), dtype=np.float32),
        Histories.from_lists([[] for _ in range(3000)]),
        Targets(rng.integers(0, 200, 3000).astype(np.int32), np.arange(3001, dtype=np.int64)),
    )
    metrics = evaluated(scored, 50).metrics["keep"]
    for k in (5, 10, 20, 50):
        assert metrics[f"recall@{k}"].low <= k / 200 <= metrics[f"recall@{k}"].high
