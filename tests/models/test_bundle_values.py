"""Known values of models that only count, on bundles of food, electronics and meals: split seed 0, test part, Recall@20 and NDCG@20.

They were measured once with other code, items in the order of rows that the harness gives them.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recbench import registry
from recbench.core import Catalogue, SilentProgress
from recbench.data import Split, locate, make_split, read_dataset
from recbench.evaluation import ranks_of_targets, values_per_user
from recbench.tasks import find_task
from recbench.testing import LightContext

pytestmark = pytest.mark.real_data


@cache
def split_of(dataset: str, rule: str) -> Split:
    located = locate(dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=Path(os.devnull), progress=SilentProgress(), fetch=False)
    return make_split(read_dataset(located, SilentProgress()), find_task("bundle").protocol(rule))


@pytest.mark.parametrize(
    ("dataset", "rule", "model", "preset", "expected"),
    [
        ("bundle-food", "random", "popularity", "default", [0.0245, 0.0134]),
        ("bundle-food", "random", "cobundle-knn", "cosine", [0.4194, 0.3236]),
        ("bundle-food", "random", "cobundle-knn", "count", [0.4180, 0.3048]),
        ("bundle-food", "session", "popularity", "default", [0.0142, 0.0045]),
        ("bundle-food", "session", "cobundle-knn", "cosine", [0.0182, 0.0067]),
        ("bundle-food", "session", "cobundle-knn", "count", [0.0193, 0.0088]),
        ("bundle-electronic", "random", "popularity", "default", [0.0536, 0.0261]),
        ("bundle-electronic", "random", "cobundle-knn", "cosine", [0.2829, 0.2227]),
        ("bundle-electronic", "random", "cobundle-knn", "count", [0.2967, 0.2258]),
        ("bundle-electronic", "session", "popularity", "default", [0.0279, 0.0182]),
        ("bundle-electronic", "session", "cobundle-knn", "cosine", [0.0165, 0.0064]),
        ("bundle-electronic", "session", "cobundle-knn", "count", [0.0165, 0.0067]),
        ("bundle-food", "random", "item-knn", "uniform", [0.4090, 0.3177]),
        ("bundle-meal", "random", "slot-popularity", "default", [0.3469, 0.1837]),
    ],
)
def test_known_values(dataset: str, rule: str, model: str, preset: str, expected: list[float], tmp_path: Path) -> None:
    split = split_of(dataset, rule)
    plugin = registry.models().load(model)
    recommender = plugin.build(plugin.resolve(preset), Catalogue(len(split.items), len(split.user_ids)))
    recommender.fit(LightContext(split.train, tmp_path, split.items.columns))
    queries = split.test.queries(split.user_ids, ("unseen",))
    ranks = ranks_of_targets(recommender.generate(queries, 20), split.test.targets, queries)["unseen"]
    found = values_per_user(ranks, split.test.targets.offsets, ("recall@20", "ndcg@20")).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.5e-4 + 1e-9)
