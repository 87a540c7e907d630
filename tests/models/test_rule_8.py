"""Rule 8 of docs/protocol.md where numbers differ and yet are one float32 score: the smaller item row comes first."""

import numpy as np
import pytest

from recbench import registry
from recbench.core import Catalogue
from recbench.evaluation import check_rankings
from recbench.testing import queries


@pytest.mark.parametrize("name", ["popularity", "recent-popularity"])
def test_counts_that_are_equal_as_scores_stand_in_the_order_of_rows(name: str) -> None:
    plugin = registry.models().load(name)
    model = plugin.build(plugin.resolve("default"), Catalogue(3, 1))
    model.count_I = np.array([2**24, 2**24 + 1, 2**24 + 2])
    asked = queries([[], [1]])
    checked = check_rankings(model.generate(asked, 3), asked, n_items=3, k=3)
    assert checked.view("keep").tolist() == [[2, 0, 1]] * 2
