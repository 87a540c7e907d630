"""Synthetic data with independent clusters of behaviour and of text, and what the tests of PRORec share."""

from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core import Interactions
from recbench.testing import LightContext, interactions
from recbench_models.prorec import PLUGIN
from recbench_models.prorec.config import PRORecConfig

N_ITEMS, N_USERS, N_CLUSTERS, TEXT_WIDTH = 96, 300, 6, 24


def config(**changes: Any) -> PRORecConfig:
    """Preset smoke, and changes."""
    settings = PLUGIN.resolve("smoke", None, changes)
    assert isinstance(settings, PRORecConfig)
    return settings


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each item by behaviour, and by text; one says nothing about the other."""
    rng = np.random.default_rng(seed)
    return rng.permutation(N_ITEMS) % N_CLUSTERS, rng.permutation(N_ITEMS) % N_CLUSTERS


@cache
def walks(seed: int = 1, length: int = 8) -> Interactions:
    """Users who mostly stay within the cluster of behaviour that they are in."""
    rng = np.random.default_rng(seed)
    of_behaviour, _ = clusters()
    users = []
    for _ in range(N_USERS):
        walk = [int(rng.integers(N_ITEMS))]
        while len(walk) < length:
            own = np.flatnonzero(of_behaviour == of_behaviour[walk[-1]])
            walk.append(int(rng.choice(own) if rng.random() < 0.9 else rng.integers(N_ITEMS)))
        users.append(walk)
    return interactions(users, N_ITEMS)


def text(scale: float = 10.0, seed: int = 2) -> np.ndarray:
    """A vector per item, near the centre of its cluster of text; rows are about `scale` long."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(N_CLUSTERS, TEXT_WIDTH))
    vectors = centres[clusters()[1]] + 0.5 * rng.normal(size=(N_ITEMS, TEXT_WIDTH))
    return (scale * vectors / np.linalg.norm(vectors, axis=1).mean()).astype(np.float32)


def context(folder: Path, **changes: Any) -> LightContext:
    """With a judge that likes the later better, and texts of one word per cluster."""
    words = {"title": [f"theme{cluster}" for cluster in clusters()[1]]}
    looks = count()
    return LightContext(walks(), folder, words, judge=lambda ranker: next(looks) / 1e6, **changes)
