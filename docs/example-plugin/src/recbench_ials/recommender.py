"""iALS: alternating least squares over all pairs of user and item."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from recbench.core import Catalogue, FitContext, FitReport, Histories, Parameters, Queries, Rankings
from recbench.nn.ranking import full_catalogue_topk

from .config import IALSConfig

# B queries, b lists of one batch, T longest list of a batch, N lists, M things listed, I items, D width

_SLOTS = 65_536


class IALS:
    """Scores an item by the product of its vector with that of the history, which is solved for when it is asked about."""

    def __init__(self, config: IALSConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.item_ID = np.zeros((catalogue.n_items, config.width), dtype=np.float32)

    def fit(self, context: FitContext) -> FitReport:
        """Solve for users, then for items, and so on."""
        train, n_epochs = context.train, self.config.epochs
        order = np.argsort(train.item, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(train.item_counts())])
        users_of_item = Histories(train.row_of_entry()[order].astype(np.int32), offsets)
        self.item_ID = context.generator("items").normal(0, self.config.width**-0.5, self.item_ID.shape).astype(np.float32)
        with context.progress.task("iALS", n_epochs) as task:
            for epoch in range(n_epochs):
                if context.budget.is_spent(steps=epoch, examples=epoch * len(train.item)):
                    n_epochs = epoch
                    break
                user_UD = _solve(train.histories(), self.item_ID, self.config)
                self.item_ID = _solve(users_of_item, user_UD, self.config)
                task.advance()
        seen = n_epochs * len(train.item)
        stopped_by = "done" if n_epochs == self.config.epochs else "budget"
        return FitReport(n_epochs, n_epochs, seen, len(train.item), Parameters(total=self.item_ID.size), stopped_by=stopped_by)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items with the largest product with the history's vector; an empty history has the zero vector."""
        query_BD = _solve(queries.histories, self.item_ID, self.config)
        return full_catalogue_topk(torch.from_numpy(query_BD), torch.from_numpy(self.item_ID), queries, k)

    def save(self, folder: Path) -> None:
        """Write the items' vectors; users' vectors follow from them."""
        save_file({"items": self.item_ID}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the items' vectors."""
        self.item_ID = load_file(folder / "model.safetensors")["items"]


def _solve(lists: Histories, other_MD: NDArray[np.float32], config: IALSConfig) -> NDArray[np.float32]:
    """The vector of each list, (N, D): least squares with 1 for what is listed and 0, at a lower weight, for everything."""
    # A row of zeros at the end is what shorter lists are filled up with.
    padded_MD = np.vstack([other_MD, np.zeros_like(other_MD[:1])]).astype(np.float64)
    shared_DD = config.unobserved * padded_MD.T @ padded_MD + config.regularisation * np.eye(config.width)
    found_ND = np.zeros((len(lists), config.width), dtype=np.float32)
    for rows in lists.length_buckets(_SLOTS):
        listed_bTD = padded_MD[lists.take(rows).padded(len(other_MD))]
        gram_bDD = listed_bTD.transpose(0, 2, 1) @ listed_bTD + shared_DD
        found_ND[rows] = np.linalg.solve(gram_bDD, listed_bTD.sum(1)[:, :, None])[:, :, 0]
    return found_ND
