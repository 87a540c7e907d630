import math

import numpy as np
import pytest

from recbench.core import Histories, Rankings, SplitMismatch, Targets
from recbench.evaluation import Exposure, TargetFacts, beyond_accuracy, exposure_counts, target_facts
from tests.evaluation.scored import random_scored


def facts_with(history_popularity: list[float], history_length: list[int]) -> TargetFacts:
    n = len(history_popularity)
    zeros = np.zeros(n, np.int32)
    false = np.zeros(n, np.bool_)
    length = np.array(history_length, np.int32)
    return TargetFacts(np.arange(n, dtype=np.int32), zeros, zeros, length, None, false, false, np.array(history_popularity))


def test_exposure_counts_the_first_ten_of_every_list() -> None:
    items = np.full((1, 2, 12), -1, np.int32)
    items[0, 0] = np.arange(12)
    items[0, 1, :2] = [3, 11]
    exposure = exposure_counts(Rankings(("keep",), items, np.zeros(items.shape, np.float32)), 13)
    np.testing.assert_array_equal(exposure.counts["keep"], [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 0, 1, 0])


def test_batches_add_up() -> None:
    scored = random_scored(np.random.default_rng(2), n_users=20)
    whole = scored.rankings(15)
    halves = [Rankings(whole.views, whole.items[:, part], whole.scores[:, part]) for part in (slice(0, 8), slice(8, 20))]
    first, second = (exposure_counts(half, scored.n_items) for half in halves)
    for view, expected in exposure_counts(whole, scored.n_items).counts.items():
        np.testing.assert_array_equal((first + second).counts[view], expected)


def test_figures_by_hand() -> None:
    # Five items, one of them the head; shown 6, 2, 0, 0, 0 times.
    exposure = Exposure({"keep": np.array([6, 2, 0, 0, 0], np.int32)})
    train_count = np.array([1, 7, 3, 0, 1], np.int64)
    figures = beyond_accuracy(exposure, facts_with([2.0, 4.0, 0.0], [3, 1, 0]), train_count)["keep"]
    arp = (6 * 1 + 2 * 7) / 8
    expected = {
        "coverage@10": 2 / 5,
        # Sorted 0 0 0 2 6, weights -4 -2 0 2 4, over 5 items x 8 shown.
        "gini@10": (2 * 2 + 4 * 6) / 40,
        "entropy@10": 6 / 8 * math.log2(8 / 6) + 2 / 8 * math.log2(8 / 2),
        "arp@10": arp,
        "popularity_lift@10": arp / 3.0,
        "tail_share@10": 6 / 8,
        # Three users: log2(4 / 2) for item 0, log2(4 / 8) for item 1.
        "novelty@10": (6 * 1 + 2 * -1) / 8,
    }
    assert figures == {name: pytest.approx(value) for name, value in expected.items()}


def test_even_exposure_has_no_gini_and_full_entropy() -> None:
    figures = beyond_accuracy(Exposure({"unseen": np.full(16, 3, np.int32)}), facts_with([1.0], [2]), np.ones(16, np.int64))["unseen"]
    assert figures["gini@10"] == 0.0
    assert figures["entropy@10"] == pytest.approx(4.0)
    assert figures["coverage@10"] == 1.0


def test_the_head_is_a_fifth_rounded_up_and_of_equal_counts_the_smaller_rows() -> None:
    shown = Exposure({"keep": np.array([1, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0], np.int32)})
    figures = beyond_accuracy(shown, facts_with([1.0], [1]), np.full(11, 4, np.int64))["keep"]
    assert figures["tail_share@10"] == 3 / 6


def test_figures_that_are_not_defined_are_left_out() -> None:
    nothing = Exposure({"keep": np.zeros(4, np.int32)})
    assert beyond_accuracy(nothing, facts_with([1.0], [1]), np.ones(4, np.int64)) == {"keep": {"coverage@10": 0.0}}
    shown = Exposure({"keep": np.ones(4, np.int32)})
    assert "popularity_lift@10" not in beyond_accuracy(shown, facts_with([0.0], [0]), np.ones(4, np.int64))["keep"]


def test_popularity_of_a_history_counts_once_per_user_whatever_the_number_of_targets() -> None:
    scored = random_scored(np.random.default_rng(4), n_users=4)
    train, histories = scored.train(), Histories.from_lists([[0], [1], [2], [3]])
    user = np.arange(4, dtype=np.int32)
    one = target_facts(train, histories, Targets.from_lists([[4], [4], [4], [4]]), user, None)
    many = target_facts(train, histories, Targets.from_lists([[4, 5, 6, 7], [4], [4], [4]]), user, None)
    exposure = exposure_counts(scored.rankings(10), scored.n_items)
    assert beyond_accuracy(exposure, one, train.item_counts()) == beyond_accuracy(exposure, many, train.item_counts())


def test_a_catalogue_of_another_size_is_refused() -> None:
    with pytest.raises(SplitMismatch, match="covers 4 items, the train counts 5"):
        beyond_accuracy(Exposure({"keep": np.ones(4, np.int32)}), facts_with([1.0], [1]), np.ones(5, np.int64))
