"""What a model returns is checked and copied, and stands in the order that was asked for."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import Histories, PluginFailed, Queries, Rankings
from recbench.evaluation import check_rankings

N_ITEMS = 6


def questions(n: int = 2, views: tuple[Any, ...] = ("keep", "unseen")) -> Queries:
    return Queries(Histories.from_lists([[5]] * n), np.arange(n, dtype=np.int32), np.array([f"u{row}" for row in range(n)], object), views)


def answer() -> Rankings:
    items = np.array([[[5, 0, 1]] * 2, [[0, 1, 2]] * 2], np.int32)
    return Rankings(("keep", "unseen"), items, np.array([[[3, 2, 2]] * 2, [[2, 2, 1]] * 2], np.float32), {"sequences": np.int64(6)})  # type: ignore[dict-item]


def check(rankings: object, **asked: Any) -> Rankings:
    return check_rankings(rankings, questions(**asked), n_items=N_ITEMS, k=3)


def test_views_in_another_order_are_put_into_the_order_asked_for() -> None:
    given_, wanted = answer(), check(answer())
    swapped = Rankings(given_.views[::-1], given_.items[::-1], given_.scores[::-1])
    found = check(swapped)
    assert found.views == ("keep", "unseen")
    np.testing.assert_array_equal(found.items, wanted.items)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_the_checked_lists_are_a_copy_of_plain_numbers() -> None:
    given_ = answer()
    found = check(given_)
    given_.items[:] = 0
    assert found.items.tolist() == answer().items.tolist()
    assert found.counters == {"sequences": 6}
    assert type(found.counters["sequences"]) is int


def test_a_subclass_that_lies_about_comparisons_is_seen_through() -> None:
    class Liar(np.ndarray):  # type: ignore[type-arg]
        def __lt__(self, other: object) -> Any:
            return np.zeros(self.shape, bool)

        def __ge__(self, other: object) -> Any:
            return np.zeros(self.shape, bool)

    items = answer().items
    items[0, 1, 0] = N_ITEMS
    with pytest.raises(PluginFailed, match=r"Query 1 \(user u1\), view keep: place 0 holds item row 6"):
        check(replace(answer(), items=items.view(Liar)))


@given(st.data())
def test_equal_scores_must_stand_in_the_order_of_rows(data: st.DataObject) -> None:
    items = np.array(data.draw(st.permutations(range(N_ITEMS))), np.int32)[None, None]
    values = st.sampled_from([1.0, float(np.nextafter(np.float32(1), np.float32(2))), 0.5])
    scores = np.sort(np.array(data.draw(st.lists(values, min_size=N_ITEMS, max_size=N_ITEMS)), np.float32))[::-1][None, None]
    queries = questions(1, ("keep",))
    ordered = sorted(range(N_ITEMS), key=lambda place: (-scores[0, 0, place], items[0, 0, place])) == list(range(N_ITEMS))
    with nullcontext() if ordered else pytest.raises(PluginFailed, match="the smaller item row comes first"):
        check_rankings(Rankings(("keep",), items, scores), queries, n_items=N_ITEMS, k=N_ITEMS)


def test_places_without_item_are_no_ties() -> None:
    items = np.array([[[3, -1, -1]]], np.int32)
    scores = np.array([[[0, -np.inf, -np.inf]]], np.float32)
    check_rankings(Rankings(("keep",), items, scores), questions(1, ("keep",)), n_items=N_ITEMS, k=3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "returned None, not Rankings"),
        ((1, 2), "returned a tuple, not Rankings"),
        (replace(answer(), views=None), "for the views None"),  # type: ignore[arg-type]
        (replace(answer(), views=(0, 1)), "for the views 0, 1"),  # type: ignore[arg-type]
        (replace(answer(), views=("keep", "keep")), "for the views keep, keep"),
        (replace(answer(), views=("keep", "seen")), "for the views keep, seen"),  # type: ignore[arg-type]
        (replace(answer(), items=answer().items.tolist()), "items as a list"),  # type: ignore[arg-type]
        (replace(answer(), scores=None), "scores as None"),  # type: ignore[arg-type]
        (replace(answer(), counters=["x"]), "counters as a list"),  # type: ignore[arg-type]
        (replace(answer(), counters={"sequences": "many"}), "counter 'sequences' = 'many'"),  # type: ignore[dict-item]
        (replace(answer(), counters={"sequences": -1}), "counter 'sequences' = -1"),
        (replace(answer(), counters={"sequences": True}), "counter 'sequences' = True"),
        (replace(answer(), counters={3: 1}), "counter 3 = 1"),  # type: ignore[dict-item]
    ],
)
def test_wrong_types_are_refused_with_a_sentence(wrong: object, words: str) -> None:
    with pytest.raises(PluginFailed, match=words):
        check(wrong)
