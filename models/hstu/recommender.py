"""HSTU (arXiv:2402.17152), the encoder of its research code."""

import torch
from torch import Tensor

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Queries
from recbench.nn.blocks import HistoryRecommender
from recbench.nn.training import Windows, logit_vectors, torch_seeded, train_next_items
from recbench_models.hstu.config import HSTUConfig
from recbench_models.hstu.data import padded_times
from recbench_models.hstu.network import HSTUEncoder, HSTUTraining


class HSTU(HistoryRecommender[HSTUEncoder]):
    """Ranks items by the cosine of their vector with the state of the newest slot of the history."""

    def __init__(self, config: HSTUConfig, catalogue: Catalogue) -> None:
        super().__init__(HSTUEncoder(config.network, catalogue.n_items))
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Train every prefix of the train part to predict what follows it.

        Raises:
            BadRequest: times count and the data set does not know any.
        """
        config = self.config
        if config.network.time_bias == "own" and context.train.seconds is None:
            raise BadRequest(
                "Model 'hstu' with network.time_bias='own' reads real times, and this data set's time stamps are of kind "
                f"{context.train.time.value!r}. Use --set network.time_bias=none, as the presets paper-untimed and cpu-untimed do."
            )
        with torch_seeded(context.seed, "hstu", "initial weights"):
            self.encoder = HSTUEncoder(config.network, context.train.n_items)
        cut = Windows.newest if config.windows == "newest" else Windows.of
        windows = cut(context.train, config.network.max_length)
        module = HSTUTraining(self.encoder, config, context.train, windows)
        return train_next_items(
            context, module, batch_size=config.batch_size, batch_unit=config.batch_unit, settings=config.training, ranker=self
        )

    def multiplied(self, state_BD: Tensor, item_ID: Tensor) -> tuple[Tensor, Tensor]:
        """States and item vectors as the loss takes them: of length 1 where the settings say so."""
        return logit_vectors(self.config, state_BD, item_ID)

    def states(self, queries: Queries, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The states of histories of at least one item, (B, D), from items and, where the queries tell them, times."""
        time_BT = None
        if queries.timestamp is not None:
            histories = queries.histories
            time_BT = torch.from_numpy(padded_times(queries.timestamp, histories.offsets[:-1], histories.lengths)).to(item_BT.device)
        return self.encoder.last_states(item_BT, length_B, time_BT)
