"""Synthetic outfits: what they promise."""

from collections.abc import Callable

import numpy as np
import pytest

from recbench.core import SilentProgress
from recbench.data import Dataset, Located, Split, dataset_card, make_split, read_dataset
from recbench.tasks import task_of_card


def outfits(**options: float) -> Dataset:
    card = dataset_card("outfits").model_copy(update={"options": options})
    return read_dataset(Located(card, "generated", {}), SilentProgress())


def recall(split: Split, scores: np.ndarray) -> float:
    """Mean recall of 20 items without those that are shown."""
    found = []
    for query in range(len(split.test)):
        score = scores[query].astype(np.float64)
        score[split.test.histories[query]] = -np.inf
        found.append(np.isin(split.test.targets[query], np.argsort(-score, kind="stable")[:20]).mean())
    return float(np.mean(found))


def rows_of(lists: object, n_rows: int, n_items: int) -> np.ndarray:
    out = np.zeros((n_rows, n_items))
    for row in range(n_rows):
        out[row, lists[row]] = 1  # type: ignore[index]
    return out


def test_sizes_and_shares_are_those_of_the_recipe(read: Callable[..., Dataset]) -> None:
    dataset = read("outfits")
    split = make_split(dataset, task_of_card(dataset.card).protocol())
    assert (dataset.n_users, dataset.n_items) == (1500, 600)
    assert (np.count_nonzero(split.train.lengths), len(split.valid), len(split.test)) == (1200, 150, 150)
    lengths = split.train.lengths[split.train.lengths > 0]
    assert (lengths.min(), lengths.max()) == (3, 5)
    assert lengths.mean() == pytest.approx(4, abs=0.1)
    assert 0.1 < np.mean(split.train.item_counts()[split.test.targets.item] == 0) < 0.2
    assert split.feedback is not None
    assert len(split.feedback.item) == pytest.approx(3250, abs=150)
    assert {name: table.matrix.shape for name, table in split.features.items()} == {"image": (600, 32), "text": (600, 32)}
    assert 0.2 <= np.mean(np.bincount(split.feedback.item, minlength=600) == 0) < 0.3
    category = dataset.items.columns["categories"]
    assert all(len(set(category[dataset.interactions[row]])) == len(dataset.interactions[row]) for row in range(1500))


def test_what_goes_together_and_what_does_not_is_as_in_the_recipe() -> None:
    """Recall@20 of untrained rows, within .03 of what was measured over three seeds."""
    dataset = outfits()
    split = make_split(dataset, task_of_card(dataset.card).protocol())
    assert split.feedback is not None
    bundles = rows_of(split.train, 1500, 600)
    used = rows_of(split.feedback, len(split.feedback), 600)
    shown = rows_of(split.test.histories, len(split.test), 600)
    count = bundles.sum(axis=0)

    def cosine(rows: np.ndarray) -> np.ndarray:
        together = rows.T @ rows
        np.fill_diagonal(together, 0)
        size = np.sqrt(np.maximum(rows.sum(axis=0), 1))
        return together / size[:, None] / size

    def alike(*names: str) -> np.ndarray:
        units = [split.features[name].matrix / np.linalg.norm(split.features[name].matrix, axis=1, keepdims=True) for name in names]
        return sum(unit @ unit.T for unit in units)

    by = {
        "popularity": recall(split, np.tile(count, (len(shown), 1))),
        "bundles": recall(split, shown @ cosine(bundles) + 1e-6 * count),
        "feedback": recall(split, shown @ cosine(used)),
        "image": recall(split, shown @ alike("image")),
        "image and text": recall(split, shown @ alike("image", "text")),
    }
    bounds = {"popularity": (0.10, 0.14), "bundles": (0.45, 0.48), "feedback": (0.239, 0.294), "image": (0.299, 0.369)}
    bounds["image and text"] = (0.158, 0.234)
    assert all(low - 0.03 < by[name] < high + 0.03 for name, (low, high) in bounds.items()), by


def test_all_follows_from_the_seed() -> None:
    small = {"n_items": 100, "n_bundles": 60, "n_users": 20}

    def fingerprints(seed: int) -> object:
        dataset = outfits(seed=seed, **small)
        return make_split(dataset, task_of_card(dataset.card).protocol()).fingerprints

    assert fingerprints(5) == fingerprints(5) != fingerprints(6)
