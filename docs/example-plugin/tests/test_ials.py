"""iALS: what every model promises, and one solution by hand."""

from pathlib import Path

import numpy as np
import pytest
from recbench_ials import PLUGIN

from recbench.core import Catalogue, Plugin
from recbench.testing import LightContext, PluginContract, interactions, queries


class TestIALS(PluginContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plugin(cls) -> Plugin:
        return PLUGIN


def test_a_list_is_solved_for_like_a_ridge_regression() -> None:
    """One user with item 0 and item vector v: (0.1 v v + v v + 1) u = v."""
    model = PLUGIN.build(PLUGIN.resolve("default", None, {"width": 1, "epochs": 1}), Catalogue(1, 1))
    model.item_ID = np.array([[2.0]], dtype=np.float32)
    ranked = model.generate(queries([[0]], views=("keep",)), 1)
    assert ranked.items.tolist() == [[[0]]]
    assert ranked.scores[0, 0, 0] == pytest.approx(2.0 * 2.0 / (0.4 + 4.0 + 1.0))


def test_two_kinds_of_users_are_told_apart(tmp_path: Path) -> None:
    lists = [[0, 1], [1, 2], [0, 2], [3, 4], [4, 5], [3, 5]]
    model = PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(6, len(lists)))
    report = model.fit(LightContext(interactions(lists, 6), tmp_path))
    assert report.stopped_by == "done"
    lists_of = model.generate(queries([[0], [5]], views=("unseen",)), 2).view("unseen")
    assert [set(row) for row in lists_of.tolist()] == [{1, 2}, {3, 4}]
