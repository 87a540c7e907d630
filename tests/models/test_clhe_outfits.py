"""CLHE from end to end on synthetic outfits: above every neighbourhood method, and what it takes to find cold items."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recbench.core import SilentProgress
from recbench.core.ragged import Ragged
from recbench.data import Split, locate, make_split, read_dataset
from recbench.nn.ranking import binary_matrix
from recbench.tasks import BUNDLE
from recbench.testing.training import train
from recbench_models.clhe import PLUGIN

SETTINGS = {
    "content.text_from": "features", "batch_size": 128, "bundle_views.temperature": 0.2, "bundle_views.weight": 0.5,
    "training.learning_rate": 3e-3, "training.max_epochs": 5,
}  # fmt: skip
"""A higher rate than that of the presets, for fewer passes."""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("outfits")
    progress = SilentProgress()
    dataset = read_dataset(locate("outfits", data_dir=None, home=folder, progress=progress, fetch=False), progress)
    make_split(dataset, BUNDLE.protocol("published")).save(folder / "split")
    return Split.open(folder / "split")


def recall(lists: NDArray[np.integer], targets: Ragged, counts: NDArray[np.bool_]) -> float:
    """Mean Recall@20 over the queries that have a target that counts."""
    found = [[item in row[:20] for item in targets[query] if counts[item]] for query, row in enumerate(lists)]
    return float(np.mean([np.mean(hits) for hits in found if hits]))


def by_neighbours(split: Split, item: NDArray[np.floating]) -> NDArray[np.integer]:
    """Lists by the mean cosine with the items that are shown, (B, 20)."""
    unit = item / np.maximum(np.linalg.norm(item, axis=1, keepdims=True), 1e-9)
    cosine = unit @ unit.T
    lists = []
    for query in range(len(split.test)):
        shown = split.test.histories[query]
        score = cosine[shown].mean(0)
        score[shown] = -np.inf
        lists.append(np.argsort(-score, kind="stable")[:20])
    return np.array(lists)


def learnt(split: Split, folder: Path, preset: str) -> NDArray[np.integer]:
    trained = train(PLUGIN, split, folder, preset=preset, overrides=SETTINGS)
    queries = split.test.queries(split.user_ids, views=("unseen",))
    return trained.recommender.generate(queries, 20).view("unseen")


@pytest.mark.slow
def test_outfits(split: Split, tmp_path: Path) -> None:
    is_cold = split.train.item_counts() == 0
    everything = np.ones(len(is_cold), dtype=bool)
    targets = split.test.targets
    assert split.feedback is not None
    feedback = np.zeros((len(split.feedback), len(is_cold)))
    feedback[split.feedback.row_of_entry(), split.feedback.item] = 1.0
    neighbours = {
        "together": by_neighbours(split, binary_matrix(split.train).toarray().T),
        "image": by_neighbours(split, split.features["image"].matrix),
        "feedback": by_neighbours(split, feedback.T),
    }
    best = max(recall(lists, targets, everything) for lists in neighbours.values())
    assert recall(neighbours["together"], targets, is_cold) == 0.0

    plain, cold = (learnt(split, tmp_path / preset, preset) for preset in ("cpu", "cpu-cold"))
    of_all, of_cold = (recall(plain, targets, counts) for counts in (everything, is_cold))
    assert of_all >= max(0.45, 1.03 * best)
    with_cold = recall(cold, targets, is_cold)
    assert with_cold >= max(0.2, of_cold + 0.15)
