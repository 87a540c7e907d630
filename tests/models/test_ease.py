"""EASE: against a dense inverse, and what validation picks."""

import re
from pathlib import Path

import numpy as np
import pytest

from recbench.core import Catalogue, Ranker, Recommender
from recbench.testing import LightContext, interactions, queries
from recbench_models.ease import PLUGIN

N_ITEMS = 50


def lists() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, N_ITEMS, rng.integers(1, 12)).tolist() for _ in range(80)]


def dense_weights(regularisation: float) -> np.ndarray:
    """Equation 8 of arXiv:1905.03375, as it stands there."""
    columns = np.zeros((80, N_ITEMS))
    for user, row in enumerate(lists()):
        columns[user, row] = 1
    inverse = np.linalg.inv(columns.T @ columns + regularisation * np.eye(N_ITEMS))
    weights = inverse / -np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0)
    return weights


def fitted(tmp_path: Path, preset: str = "uniform", **settings: object) -> Recommender:
    model = PLUGIN.build(PLUGIN.resolve(preset, None, settings), Catalogue(N_ITEMS, 80))
    model.fit(LightContext(interactions(lists(), N_ITEMS), tmp_path))
    return model


@pytest.mark.parametrize("regularisation", [0.5, 250.0])
def test_weights_are_those_of_a_dense_inverse(regularisation: float, tmp_path: Path) -> None:
    weights = fitted(tmp_path, regularisation=regularisation).weight_II.numpy()
    np.testing.assert_allclose(weights, dense_weights(regularisation), rtol=1e-5, atol=1e-8)
    assert (np.diag(weights) == 0).all()


@pytest.mark.parametrize(("preset", "decay"), [("uniform", 1.0), ("decay", 0.8)])
def test_scores_are_weighted_sums_over_the_history(preset: str, decay: float, tmp_path: Path) -> None:
    rankings = fitted(tmp_path, preset, regularisation=2).generate(queries([[3, 7, 3, 9], [], [4]]), N_ITEMS)
    weights = dense_weights(2)
    expected = np.stack([weights[9] + decay * weights[3] + decay**2 * weights[7], np.zeros(N_ITEMS), weights[4]])
    for row in range(3):
        np.testing.assert_allclose(rankings.scores[0, row], np.sort(expected[row])[::-1], atol=1e-6)
        np.testing.assert_allclose(expected[row][rankings.view("keep")[row]], rankings.scores[0, row], atol=1e-6)
    assert rankings.view("keep")[1].tolist() == list(range(N_ITEMS))
    assert not set(rankings.view("unseen")[0]) & {3, 7, 9}


def test_validation_picks_the_regularisation(tmp_path: Path) -> None:
    model = PLUGIN.build(PLUGIN.resolve("uniform"), Catalogue(N_ITEMS, 80))
    seen = []

    def judge(ranker: Ranker) -> float:
        # The stronger the penalty, the smaller the weights: the third candidate is judged best.
        seen.append(float(ranker.weight_II.abs().max()))
        return {3: 1.0}.get(len(seen), 0.5)

    report = model.fit(LightContext(interactions(lists(), N_ITEMS), tmp_path, judge=judge))
    assert report.chosen == {"regularisation": 250.0}
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    np.testing.assert_allclose(model.weight_II.numpy(), dense_weights(250), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("n_items", "memory", "reason"),
    [
        (20_000, 10**10, r""),
        (20_000, 6 * 10**9, r"20,000 items; its matrices over pairs of items would take 6\.0 GiB of memory, and this machine has 5\.6 GiB"),
        (
            10**6,
            10**14,
            r"1,000,000 items and the model's limit is 30,000; its matrices over pairs of items would take 14\.6 TiB of memory",
        ),
    ],
)
def test_the_card_says_what_a_catalogue_would_take(n_items: int, memory: int, reason: str) -> None:
    found = PLUGIN.card.beyond_size(n_items, memory)
    assert re.fullmatch(f"the data set has {reason}" if reason else "", found)


def test_bundles_get_all_items_alike_and_weak_penalties_too() -> None:
    config = PLUGIN.resolve(PLUGIN.default_preset("cpu", "bundle"))
    assert config.decay == 1.0
    assert config.candidates == (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    assert PLUGIN.default_preset("cpu", "next-item") == "decay"
