"""HGN (arXiv:1906.09217), with padding masked and all gates trained."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Queries
from recbench.core.ragged import LongArray
from recbench.nn.blocks import HistoryRecommender
from recbench.nn.training import Windows, torch_seeded, train
from recbench_models.hgn.config import HGNConfig
from recbench_models.hgn.network import HGNEncoder, HGNTraining, with_one


class HGN(HistoryRecommender[HGNEncoder]):
    """Ranks items by the inner product of their output vector with the user's vector plus what the newest items say."""

    def __init__(self, config: HGNConfig, catalogue: Catalogue) -> None:
        super().__init__(HGNEncoder(config.network, catalogue.n_items, catalogue.n_users))
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Train every prefix of the train part to predict what follows it; `BadRequest` where `bpr` finds no negatives of a user."""
        config = self.config
        with torch_seeded(context.seed, "hgn", "initial weights"):
            self.encoder = HGNEncoder(config.network, context.train.n_items, context.train.n_users)
        prefixes = Windows.prefixes(context.train, config.network.max_length)

        def batches(epoch: int) -> list[LongArray]:
            order = context.generator("batches", epoch).permutation(len(prefixes))
            return [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]

        module = HGNTraining(self.encoder, config, context.train, prefixes)
        return train(context, module, batches=batches, settings=config.training, ranker=self, examples_possible=len(prefixes))

    def encode(self, queries: Queries) -> Tensor:
        """The state of each query, (B, D + 1) float32; after an empty history that is the user's vector alone."""
        with torch.inference_mode():
            state_BE = super().encode(queries)
            is_empty_B = torch.from_numpy(queries.histories.lengths == 0).to(state_BE.device)
            return torch.where(is_empty_B[:, None], with_one(self._users(queries)), state_BE)

    def states(self, queries: Queries, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The states of histories of at least one item, (B, D + 1)."""
        state_BE: Tensor = self.encoder(item_BT, length_B, self._users(queries))
        return state_BE

    def _users(self, queries: Queries) -> Tensor:
        return self.encoder.users(torch.from_numpy(queries.user.astype(np.int64)).to(self.encoder.user.weight.device))

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' vectors as histories are read, (n_items, D)."""
        vectors: NDArray[np.float32] = self.encoder.input.weight[: self.encoder.n_items].detach().float().cpu().numpy().copy()
        return vectors
