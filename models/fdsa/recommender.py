"""FDSA: the next item from what items and their attributes say, each by a stream of its own."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recbench.core import BadData, Catalogue, FitContext, FitReport
from recbench.nn.blocks import HistoryRecommender
from recbench.nn.text import ItemAttributes, item_attributes, text_vectors
from recbench.nn.training import NextItemLossSettings, NextItemTraining, Windows, torch_seeded, train_next_items
from recbench_models.fdsa.config import FDSAConfig
from recbench_models.fdsa.network import FDSAEncoder

_TEXT_FILE = "text.npy"


class FDSA(HistoryRecommender[FDSAEncoder]):
    """Ranks items by the inner product of their vector with the joined state of both streams.

    Before `fit` or `load` no item has an attribute.
    """

    def __init__(self, config: FDSAConfig, catalogue: Catalogue) -> None:
        nothing: list[list[str]] = [[]] * catalogue.n_items
        self._attributes = ItemAttributes.of(dict.fromkeys(config.attributes.fields, nothing))
        self._text_NX: Tensor | None = None
        super().__init__(FDSAEncoder(config.network, self._attributes))
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Train every prefix of the train part to predict what follows it."""
        config = self.config
        self._attributes = item_attributes(context.items, config.attributes, context.log)
        if config.text is not None:
            self._text_NX = torch.from_numpy(np.array(text_vectors(context, config.text).vectors))
        with torch_seeded(context.seed, "fdsa", "initial weights"):
            self.encoder = FDSAEncoder(config.network, self._attributes, self._text_NX)
        windows = Windows.of(context.train, config.network.max_length)
        module = NextItemTraining(self.encoder, NextItemLossSettings(loss="ce"), context.train, windows, mixes_lengths=False)
        return train_next_items(
            context, module, batch_size=config.batch_targets, batch_unit="targets", settings=config.training, ranker=self
        )

    def save(self, folder: Path) -> None:
        """Write the weights, the attributes, and the vectors of texts where there are any."""
        super().save(folder)
        self._attributes.save(folder)
        if self._text_NX is not None:
            np.save(folder / _TEXT_FILE, self._text_NX.numpy())

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; `BadData` where it does not fit the settings."""
        n_items = self.encoder.n_items
        self._attributes = ItemAttributes.load(folder, n_items)
        if self.config.text is not None:
            self._text_NX = _load_text(folder / _TEXT_FILE, n_items)
        self.encoder = FDSAEncoder(self.config.network, self._attributes, self._text_NX)
        super().load(folder)


def _load_text(path: Path, n_items: int) -> Tensor:
    """Vectors of texts, (n_items, X)."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} holds no vectors that can be read: {error}. Restore it, or make the run again.") from None
    if vectors.ndim != 2 or len(vectors) != n_items or vectors.dtype != np.float32:
        raise BadData(f"{path} holds {vectors.dtype} of shape {vectors.shape}, for {n_items} items. Restore it, or make the run again.")
    return torch.from_numpy(vectors)
