"""Known values on Amazon Beauty and Sports as published and on MovieLens: test part, view `unseen`, ties to the smaller row.

They were measured once with other code (popularity on Beauty also agrees with an independent public log): R@5, N@5, R@10, N@10, R@20, N@20.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench import registry
from recbench.core import Catalogue, Recommender, SilentProgress
from recbench.data import Split, locate, make_split, read_dataset
from recbench.evaluation import ranks_of_targets, values_per_user
from recbench.tasks import NEXT_ITEM
from recbench.testing import LightContext

METRICS = ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "recall@20", "ndcg@20")
pytestmark = pytest.mark.real_data


@cache
def split_of(name: str) -> Split:
    located = locate(name, data_dir=Path(os.environ["RECBENCH_DATA"]), home=Path(os.devnull), progress=SilentProgress(), fetch=False)
    return make_split(read_dataset(located, SilentProgress()), NEXT_ITEM.protocol())


def built(model: str, preset: str, split: Split, overrides: dict[str, Any] | None = None) -> Recommender:
    plugin = registry.models().load(model)
    return plugin.build(plugin.resolve(preset, None, overrides), Catalogue(len(split.items), len(split.user_ids)))


def measured(model: Recommender, split: Split) -> list[float]:
    queries = split.test.queries(split.user_ids, ("unseen",))
    ranks = ranks_of_targets(model.generate(queries, 20), split.test.targets, queries)["unseen"]
    return values_per_user(ranks, split.test.targets.offsets, METRICS).mean(axis=0).tolist()


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("beauty", [0.0075, 0.0041, 0.0114, 0.0054, 0.0203, 0.0076]), ("sports", [0.0057, 0.0041, 0.0091, 0.0052, 0.0151, 0.0067])],
)
def test_popularity(dataset: str, expected: list[float], tmp_path: Path) -> None:
    split = split_of(dataset)
    model = built("popularity", "default", split)
    model.fit(LightContext(split.train, tmp_path))
    np.testing.assert_allclose(measured(model, split), expected, rtol=0, atol=0.5e-4 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "model", "preset", "expected"),
    [
        ("beauty", "last-item-markov", "default", [0.0514, 0.0389, 0.0668, 0.0439, 0.0822, 0.0478]),
        ("beauty", "item-knn", "uniform", [0.0392, 0.0269, 0.0567, 0.0325, 0.0804, 0.0385]),
        ("beauty", "item-knn", "decay", [0.0457, 0.0326, 0.0642, 0.0385, 0.0869, 0.0442]),
        ("sports", "last-item-markov", "default", [0.0285, 0.0208, 0.0369, 0.0234, 0.0464, 0.0258]),
        # One user in 18,000 more than the reference at place 5, which was 0.0224: many cosines are equal, and the reference
        # left it to rounding which of them came first.
        ("sports", "item-knn", "uniform", [0.0225, 0.0155, 0.0316, 0.0184, 0.0451, 0.0218]),
        ("sports", "item-knn", "decay", [0.0245, 0.0177, 0.0337, 0.0207, 0.0468, 0.0240]),
    ],
)
def test_neighbours(dataset: str, model: str, preset: str, expected: list[float], tmp_path: Path) -> None:
    split = split_of(dataset)
    recommender = built(model, preset, split)
    recommender.fit(LightContext(split.train, tmp_path))
    np.testing.assert_allclose(measured(recommender, split), expected, rtol=0, atol=0.5e-4 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Another implementation gave R@10 0.0803 and N@10 0.0522; without text nothing depends on a decomposition.
        ({}, [0.0803, 0.0522]),
        # Direct successors of the last item alone: the values of last-item-markov above.
        (
            {"graph.gap_weights": (1.0,), "graph.back": 0.0, "walk.last_weights": (1.0,), "walk.two_hop": 0.0},
            [0.0668, 0.0439],
        ),
    ],
)
def test_the_graph_heuristic_without_text(settings: dict[str, Any], expected: list[float], tmp_path: Path) -> None:
    split = split_of("beauty")
    model = built("graph-heuristic", "no-text", split, settings)
    model.fit(LightContext(split.train, tmp_path))
    np.testing.assert_allclose(measured(model, split)[2:4], expected, rtol=0, atol=0.5e-4 + 1e-9)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("uniform", [0.0774, 0.0514, 0.1400, 0.0718, 0.2291, 0.0941]),
        ("decay", [0.1262, 0.0834, 0.1951, 0.1055, 0.3107, 0.1343]),
    ],
)
def test_ease(preset: str, expected: list[float], tmp_path: Path) -> None:
    # On ml-100k, whose inverse takes a second: that of Beauty takes half a minute. A dense inverse in NumPy gave these values and, on
    # Beauty with lambda 250, R@10 0.0664 and N@10 0.0352 for `uniform` and 0.0740 and 0.0417 for `decay`.
    split = split_of("ml-100k")
    model = built("ease", preset, split, {"regularisation": 250})
    model.fit(LightContext(split.train, tmp_path))
    # One user of 943 counts 0.00106: a target whose score is another item's but for the last bit may stand before or behind it.
    np.testing.assert_allclose(measured(model, split), expected, rtol=0, atol=1.1e-3)
