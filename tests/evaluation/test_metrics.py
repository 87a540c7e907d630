import math

import numpy as np
import pytest

from recbench.core import BadRequest, SplitMismatch, Targets
from recbench.evaluation import METRICS, RankTable, per_user, ranks_of_targets, target_facts, values_per_user
from recbench.tasks import NEXT_ITEM
from tests.evaluation.scored import Scored, random_scored, ranked, slow_list, slow_metric


def table_of(scored: Scored, k: int) -> RankTable:
    queries = scored.queries()
    return RankTable.of_queries(queries.user, scored.targets, ranks_of_targets(scored.rankings(k), scored.targets, queries), k)


def values(ranks: list[list[int]], *metrics: str) -> np.ndarray:
    """Metrics of users whose targets stand at these ranks."""
    flat = Targets.from_lists(ranks)
    return values_per_user(flat.item.astype(np.int16), flat.offsets, metrics)


def test_one_target_by_hand() -> None:
    found = values([[0], [4], [5], [9], [-1]], "recall@5", "ndcg@5", "mrr@5", "recall@10", "ndcg@10", "mrr@10")
    expected = [
        [1, 1, 1, 1, 1, 1],
        [1, 1 / math.log2(6), 1 / 5, 1, 1 / math.log2(6), 1 / 5],
        [0, 0, 0, 1, 1 / math.log2(7), 1 / 6],
        [0, 0, 0, 1, 1 / math.log2(11), 1 / 10],
        [0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_sets_of_targets_by_hand() -> None:
    # Targets at places 1, 3 and not in the list; then three targets, one of them at place 7, with room for two in the top 2.
    found = values([[2, 0, -1], [6, -1, -1]], "recall@5", "hit_rate@5", "ndcg@5", "mrr@5", "ndcg@2", "recall@10", "mrr@10")
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    first = [2 / 3, 1, (1 + 1 / 2) / ideal, 1, 1 / (1 + 1 / math.log2(3)), 2 / 3, 1]
    second = [0, 0, 0, 0, 0, 1 / 3, 1 / 7]
    np.testing.assert_allclose(found, [first, second], rtol=1e-15)


def test_metrics_equal_those_of_a_slow_reference_on_random_scores() -> None:
    names = NEXT_ITEM.measures.names(20, has_sets=True)
    for seed in range(200):
        scored = random_scored(np.random.default_rng(seed), n_users=6, largest_set=5)
        table = table_of(scored, 20)
        for view in table.views:
            found = values_per_user(table.rank[view], table.offsets, names)
            for row in range(6):
                ranking = slow_list(scored.scores[row].tolist(), scored.histories[row].tolist(), view, 20)
                expected = [slow_metric(name, ranking, scored.targets[row].tolist()) for name in names]
                np.testing.assert_allclose(found[row], expected, rtol=1e-12)


def test_perfect_scores_give_one_and_reversed_scores_zero() -> None:
    rng = np.random.default_rng(0)
    scored = random_scored(rng, n_users=40, n_items=100)
    is_target = np.zeros(scored.scores.shape, np.float32)
    is_target[np.arange(40), scored.targets.item] = 1.0
    names = NEXT_ITEM.measures.names(50, has_sets=False)
    for scores, expected in ((is_target, 1.0), (-is_target, 0.0)):
        part = Scored(scores, scored.histories, scored.targets)
        table = table_of(part, 50)
        np.testing.assert_array_equal(values_per_user(table.rank["keep"], table.offsets, names), expected)


def test_names_of_metrics_follow_the_length_of_the_lists() -> None:
    assert NEXT_ITEM.measures.names(10, has_sets=False) == ("recall@5", "recall@10", "ndcg@5", "ndcg@10", "mrr@5", "mrr@10")
    assert NEXT_ITEM.measures.names(4, has_sets=True) == ()
    assert "hit_rate@50" in NEXT_ITEM.measures.names(50, has_sets=True)
    metric, k = METRICS.parse("hit_rate@20")
    assert (metric.kind, k) == ("hit_rate", 20)


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@-1", "auc@10", "ndcg@10 "])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="There is no metric"):
        METRICS.parse(name)


def test_a_user_without_a_target_has_no_metric() -> None:
    with pytest.raises(ValueError, match="user 1 of the table has no target"):
        values([[0], [], [2]], "recall@5")


def test_per_user_keeps_the_order_of_the_table_and_checks_what_it_is_given() -> None:
    scored = random_scored(np.random.default_rng(5), n_users=12, largest_set=2)
    table = table_of(scored, 10)
    facts = target_facts(scored.train(), scored.histories, scored.targets, scored.queries().user, None)
    expected = values_per_user(table.rank["unseen"], table.offsets, ["ndcg@10"])[:, 0]
    np.testing.assert_array_equal(per_user(table, facts, "ndcg@10", "unseen"), expected)
    with pytest.raises(BadRequest, match="ndcg@20 is not defined for lists of 10"):
        per_user(table, facts, "ndcg@20", "keep")
    only_keep = RankTable(table.user, table.target, {"keep": table.rank["keep"]}, 10)
    with pytest.raises(BadRequest, match="'unseen' was not ranked; there is keep"):
        per_user(only_keep, facts, "ndcg@10", "unseen")
    rows = np.ones(len(table), dtype=bool)
    rows[-1] = False
    with pytest.raises(SplitMismatch, match=f"{len(table) - 1} targets, the facts {len(table)}"):
        per_user(table.take(rows), facts, "ndcg@10", "keep")
    other = RankTable(table.user, np.roll(table.target, 1), table.rank, 10)
    with pytest.raises(SplitMismatch, match=r"Row \d+ is about user"):
        per_user(other, facts, "ndcg@10", "keep")


def test_renumbering_items_changes_no_metric_without_ties_and_no_more_than_ties_with_them() -> None:
    rng = np.random.default_rng(8)
    scored = random_scored(rng, n_users=60, n_items=40)
    distinct = rng.permuted(np.tile(np.arange(40, dtype=np.float32), (60, 1)), axis=1)
    new_row = rng.permutation(40).astype(np.int32)
    for scores, may_move in ((distinct, False), (scored.scores, True)):
        before = Scored(scores, scored.histories, scored.targets)
        moved = np.empty_like(scores)
        moved[:, new_row] = scores
        after = Scored(
            moved,
            type(scored.histories)(new_row[scored.histories.item], scored.histories.offsets),
            Targets(new_row[scored.targets.item], scored.targets.offsets),
        )
        first, second = table_of(before, 40), table_of(after, 40)
        own = scores[np.arange(60), scored.targets.item][:, None]
        room = (scores == own).sum(axis=1) - 1 if may_move else np.zeros(60)
        assert (np.abs(first.rank["keep"] - second.rank["keep"]) <= room).all()


def test_the_order_of_users_changes_nothing() -> None:
    scored = random_scored(np.random.default_rng(9), n_users=50, largest_set=3)
    table = table_of(scored, 20)
    names = NEXT_ITEM.measures.names(20, has_sets=True)
    order = np.random.default_rng(1).permutation(50)
    shuffled = Scored(scored.scores[order], scored.histories.take(order), scored.targets.take(order))
    other = table_of(shuffled, 20)
    for view in table.views:
        np.testing.assert_array_equal(
            values_per_user(table.rank[view], table.offsets, names)[order], values_per_user(other.rank[view], other.offsets, names)
        )


def test_popularity_on_thirty_users_by_hand() -> None:
    # 8 items, more popular the smaller the row, so in `keep` the rank is the row of the target and in `unseen` it is that less the
    # items of the history in front of it. History, target, rank in keep, rank in unseen:
    users = [
        ([0, 1], 2, 2, 0), ([0, 1], 3, 3, 1), ([0, 1], 7, 7, 5), ([0, 2], 1, 1, 0), ([0, 2], 3, 3, 1),
        ([0, 3], 1, 1, 0), ([0, 3], 5, 5, 3), ([0, 4], 2, 2, 1), ([0, 5], 6, 6, 4), ([0, 6], 7, 7, 5),
        ([1, 0, 2], 3, 3, 0), ([1, 0, 2], 6, 6, 3), ([2, 1], 0, 0, 0), ([2, 1], 4, 4, 2), ([3, 1], 0, 0, 0),
        ([3, 1], 2, 2, 1), ([4, 1], 5, 5, 3), ([5, 1, 0], 2, 2, 0), ([0, 1, 2, 3], 4, 4, 0), ([0, 1, 2, 3], 7, 7, 3),
        ([0], 0, 0, -1), ([0, 1], 1, 1, -1), ([0, 2, 4], 6, 6, 3), ([0, 2, 4], 5, 5, 2), ([0, 3, 2], 1, 1, 0),
        ([1], 0, 0, 0), ([1, 2], 3, 3, 1), ([1, 3, 0], 5, 5, 2), ([2, 0], 7, 7, 5), ([4, 3, 2], 6, 6, 3),
    ]  # fmt: skip
    scored = Scored(
        np.zeros((30, 8), np.float32),
        Targets.from_lists([history for history, *_ in users]),
        Targets.from_lists([[target] for _, target, *_ in users]),
    )
    train_count = scored.train().item_counts()
    assert (np.diff(train_count) < 0).sum() >= 5
    assert (np.diff(train_count) <= 0).all()
    scores = np.tile(train_count.astype(np.float32), (30, 1))
    rankings = ranked(scores, scored.histories, 8, ("keep", "unseen"))
    ranks = ranks_of_targets(rankings, scored.targets, scored.queries())
    np.testing.assert_array_equal(ranks["keep"], [keep for _, _, keep, _ in users])
    np.testing.assert_array_equal(ranks["unseen"], [unseen for *_, unseen in users])
    table = RankTable.of_queries(scored.queries().user, scored.targets, ranks, 8)
    # Among the first 5, line by line of the list above: 4 + 2 + 4 + 3 + 3 + 2 in keep, 4 + 4 + 5 + 5 + 3 + 4 in unseen.
    assert values_per_user(table.rank["keep"], table.offsets, ["recall@5"]).sum() == 18
    assert values_per_user(table.rank["unseen"], table.offsets, ["recall@5"]).sum() == 25
