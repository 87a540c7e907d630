"""Random."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recbench.core import Catalogue, FitContext, FitReport, Queries, Rankings
from recbench.core.seeds import derived_seed
from recbench.nn.ranking import topk_from_scores
from recbench_models.random.config import RandomConfig

# B queries, I items


class Random:
    """Ranks items by a hash of seed, user and item; a user gets the same list in any batch and any process."""

    def __init__(self, config: RandomConfig, catalogue: Catalogue) -> None:  # noqa: ARG002
        self.n_items = catalogue.n_items
        self.seed = 0

    def fit(self, context: FitContext) -> FitReport:
        """Remember the run's seed."""
        self.seed = context.seed
        return FitReport()

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items in an order that depends on seed and user; on the history where the user is unknown."""
        key_B = np.array([self._key(queries, row) for row in range(len(queries))], dtype=np.uint64)
        item_I = _mix(np.arange(self.n_items, dtype=np.uint32))

        def score_block(rows: NDArray[np.int64]) -> torch.Tensor:
            low_B, high_B = key_B[rows].astype(np.uint32), (key_B[rows] >> np.uint64(32)).astype(np.uint32)
            hash_BI = _mix(_mix(item_I ^ low_B[:, None]) + high_B[:, None])
            return torch.from_numpy((hash_BI >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24))

        return topk_from_scores(score_block, queries, k, self.n_items)

    def _key(self, queries: Queries, row: int) -> int:
        if queries.user[row] >= 0:
            return derived_seed(self.seed, "user", queries.user_ids[row])
        return derived_seed(self.seed, "history", *queries.histories[row].tolist())

    def save(self, folder: Path) -> None:
        """Write the seed."""
        (folder / "model.json").write_text(json.dumps({"seed": self.seed, "n_items": self.n_items}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read the seed."""
        values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.seed, self.n_items = values["seed"], values["n_items"]


def _mix(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A one-to-one scrambling of 32-bit numbers: the finalising steps of MurmurHash3 (Austin Appleby, public domain)."""
    value = (value ^ (value >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    value = (value ^ (value >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return value ^ (value >> np.uint32(16))
