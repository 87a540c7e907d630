"""Random: even, seeded, the same for a user whatever the batch."""

from pathlib import Path

import numpy as np

from recbench.core import Catalogue, Recommender
from recbench.testing import LightContext, interactions, queries
from recbench_models.random import PLUGIN


def fitted(n_items: int, tmp_path: Path, seed: int = 0) -> Recommender:
    model = PLUGIN.build(PLUGIN.resolve("default"), Catalogue(n_items, 1))
    model.fit(LightContext(interactions([[0, 1]], n_items), tmp_path, seed=seed))
    return model


def test_every_item_is_as_likely_as_any_other_at_every_place(tmp_path: Path) -> None:
    n_users, n_items, k = 6_000, 40, 10
    lists = fitted(n_items, tmp_path).generate(queries([[]] * n_users, views=("keep",)), k).view("keep")
    for places, share in ((lists, k / n_items), (lists[:, :1], 1 / n_items), (lists[:, -1:], 1 / n_items)):
        hits = np.bincount(places.ravel(), minlength=n_items) / n_users
        # Five standard deviations of a share among so many users.
        np.testing.assert_allclose(hits, share, atol=5 * (share * (1 - share) / n_users) ** 0.5)


def test_places_of_two_items_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    lists = fitted(8, tmp_path).generate(queries([[]] * 4_000, views=("keep",)), 8).view("keep")
    place = np.argsort(lists, axis=1)
    correlation = np.corrcoef(place.T)
    # Places of 8 items sum up to a constant, so that each pair correlates by -1/7.
    np.testing.assert_allclose(correlation[~np.eye(8, dtype=bool)], -1 / 7, atol=0.08)


def test_the_seed_and_the_user_decide(tmp_path: Path) -> None:
    asked = queries([[1], [1], [2]])
    first, again, other = (fitted(200, tmp_path, seed).generate(asked, 20).view("keep") for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    assert (first[0] != first[1]).mean() > 0.8


def test_a_strangers_list_depends_on_the_history(tmp_path: Path) -> None:
    lists = fitted(200, tmp_path).generate(queries([[1, 2], [1, 2], [2, 1]], known=False), 20).view("keep")
    np.testing.assert_array_equal(lists[0], lists[1])
    assert (lists[0] != lists[2]).mean() > 0.8
