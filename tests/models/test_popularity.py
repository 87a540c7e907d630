"""Popularity and recent popularity: counts, ties, windows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadRequest, Catalogue, Ranker, Recommender
from recbench.testing import LightContext, interactions, queries
from recbench_models.popularity import PLUGIN as POPULARITY
from recbench_models.recent_popularity import PLUGIN as RECENT

DAY_S = 86_400
# Counts of items 0 to 4: 1, 3, 3, 0, 2.
LISTS = [[1, 2, 4], [2, 1, 0], [4, 1, 2]]


def fitted(tmp_path: Path) -> Recommender:
    model = POPULARITY.build(POPULARITY.resolve("default"), Catalogue(5, 3))
    model.fit(LightContext(interactions(LISTS, 5), tmp_path))
    return model


def test_most_frequent_first_and_smaller_row_first_at_equal_counts(tmp_path: Path) -> None:
    rankings = fitted(tmp_path).generate(queries([[], [1], [1, 2, 4, 1, 2]]), 3)
    assert rankings.view("keep").tolist() == [[1, 2, 4]] * 3
    assert rankings.view("unseen").tolist() == [[1, 2, 4], [2, 4, 0], [0, 3, -1]]
    np.testing.assert_array_equal(rankings.scores[1], np.float32([[3, 3, 2], [3, 2, 1], [1, 0, -np.inf]]))


@given(
    st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=9, max_size=9),
    st.integers(1, 12),
)
def test_lists_are_those_of_a_plain_sort(histories: list[list[int]], counts: list[int], k: int) -> None:
    train = interactions([[item] * n for item, n in enumerate(counts)], 9)
    for plugin in (POPULARITY, RECENT):
        model = plugin.build(plugin.resolve("default"), Catalogue(9, 9))
        model.count_I = train.item_counts()
        rankings = model.generate(queries(histories), k)
        order = sorted(range(9), key=lambda item: (-counts[item], item))
        for row, history in enumerate(histories):
            for view, wanted in (("keep", order), ("unseen", [item for item in order if item not in history])):
                assert rankings.view(view)[row].tolist() == (wanted + [-1] * k)[:k]


def recent(tmp_path: Path, **settings: object) -> tuple[Recommender, LightContext]:
    # Item 0 is the old favourite, item 1 that of the last month, item 2 that of the last week.
    days = [[0, 1, 2], [0, 1, 80], [0, 75, 99], [95, 98, 100]]
    lists = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 2]]
    train = interactions(lists, 4, [[day * DAY_S for day in row] for row in days])
    model = RECENT.build(RECENT.resolve("default", None, settings), Catalogue(4, 4))
    return model, LightContext(train, tmp_path)


@pytest.mark.parametrize(("window", "counts"), [(7, [0, 1, 3, 0]), (30, [0, 3, 3, 0]), (365, [6, 3, 3, 0])])
def test_events_of_the_window_count(window: int, counts: list[int], tmp_path: Path) -> None:
    model, context = recent(tmp_path, window_days=window)
    report = model.fit(context)
    assert model.count_I.tolist() == counts
    assert report.chosen == {"window_days": window}


def test_an_event_exactly_a_window_ago_is_too_old(tmp_path: Path) -> None:
    model, context = recent(tmp_path, window_days=1)
    model.fit(context)
    assert model.count_I.tolist() == [0, 0, 1, 0]


def test_validation_picks_the_window(tmp_path: Path) -> None:
    model, context = recent(tmp_path)

    def judge(ranker: Ranker) -> float:
        return float(ranker.generate(queries([[]]), 1).view("keep")[0, 0] == 1)

    context.judge = judge
    assert model.fit(context).chosen == {"window_days": 30}
    assert model.count_I.tolist() == [0, 3, 3, 0]


def test_times_that_say_nothing_across_users_are_refused(tmp_path: Path) -> None:
    model = RECENT.build(RECENT.resolve("default"), Catalogue(5, 3))
    with pytest.raises(BadRequest, match=r"recent-popularity needs time stamps in seconds.*'none'.*Use popularity"):
        model.fit(LightContext(interactions(LISTS, 5), tmp_path))
