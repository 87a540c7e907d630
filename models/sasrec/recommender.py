"""SASRec (arXiv:1808.09781), with a choice of losses."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Histories, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.core.seeds import derived_seed
from recbench.nn.compute import load_weights
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training import Windows, logit_vectors, train
from recbench_models.sasrec.config import SASRecConfig
from recbench_models.sasrec.network import SASRecTraining, build_encoder

# B queries, T columns, D width

_ENCODE_SLOTS = 16_384
"""Slots that are read at a time: enough for the threads, and little memory."""


class SASRec:
    """Ranks items by the inner product of their vector with the state of the newest slot of the history."""

    def __init__(self, config: SASRecConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.encoder = build_encoder(config.network, catalogue.n_items)
        self.encoder.eval()

    def fit(self, context: FitContext) -> FitReport:
        """Train every prefix of the train part to predict what follows it."""
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(context.seed, "sasrec", "initial weights"))
            self.encoder = build_encoder(config.network, context.train.n_items)
        cut = Windows.newest if config.windows == "newest" else Windows.of
        windows = cut(context.train, config.network.max_length)

        def batches(epoch: int) -> list[LongArray]:
            generator = context.generator("batches", epoch)
            bucketed = config.batch_order == "bucketed"
            return windows.batches(bucketed=bucketed, size=config.batch_size, unit=config.batch_unit, generator=generator)

        module = SASRecTraining(self.encoder, config, context.train, windows)
        n_targets = int(windows.n_targets.sum())
        return train(context, module, batches=batches, settings=config.training, ranker=self, examples_possible=n_targets)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest scores; after an empty history all scores are 0 and item rows decide."""
        with torch.inference_mode():
            state_BD, item_ID = logit_vectors(self.config, self.encode(queries.histories), self.encoder.item_ID)
            return full_catalogue_topk(state_BD, item_ID, queries, k)

    def encode(self, histories: Histories) -> Tensor:
        """The state of the newest item of each history, (B, D) float32; zeros for an empty one."""
        self.encoder.eval()
        weight = self.encoder.item_embedding.weight
        newest = histories.tail(self.config.network.max_length)
        state_BD = torch.zeros(len(histories), weight.shape[1], device=weight.device)
        with torch.inference_mode():
            for rows in newest.length_buckets(_ENCODE_SLOTS):
                rows = rows[newest.lengths[rows] > 0]
                if len(rows) == 0:
                    continue
                part = newest.take(rows)
                item_BT = torch.from_numpy(part.padded(self.encoder.n_items)).long().to(weight.device)
                length_B = torch.from_numpy(part.lengths).to(weight.device)
                state_BD[torch.from_numpy(rows).to(weight.device)] = self.encoder.last_states(item_BT, length_B)
        return state_BD

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' vectors, (n_items, width)."""
        vectors: NDArray[np.float32] = self.encoder.item_ID.detach().float().cpu().numpy().copy()
        return vectors

    def save(self, folder: Path) -> None:
        """Write the weights."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.encoder.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the weights; `BadData` where they do not fit the settings."""
        load_weights(self.encoder.state_dict(), folder / "model.safetensors")
        self.encoder.eval()

    def to(self, device: str) -> None:
        """Move the network."""
        self.encoder.to(device)
