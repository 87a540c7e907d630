import numpy as np
import pytest

from recbench.core.seeds import frozen_generator
from recbench.evaluation import coins
from recbench.evaluation.coins import heads


@pytest.mark.parametrize("n_coins", [[1], [*range(1, 61)], [60, 1, 60, 2], [59, 61, 300]])
def test_draws_are_those_of_numpy(n_coins: list[int]) -> None:
    drawn = heads(np.array(n_coins), 3_000, frozen_generator(3, "coins"))
    expected = frozen_generator(3, "coins").binomial(n_coins, 0.5, size=(3_000, len(n_coins)))
    np.testing.assert_array_equal(drawn.T, expected)


def test_draws_next_to_a_step_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    coins._table.cache_clear()
    monkeypatch.setattr("recbench.evaluation.coins._NEXT_TO_A_STEP", 0.01)
    try:
        test_draws_are_those_of_numpy([1, 7, 33, 60])
    finally:
        coins._table.cache_clear()


def test_no_differences_are_no_draws() -> None:
    assert heads(np.array([], dtype=np.int64), 5, frozen_generator(0)).shape == (0, 5)
