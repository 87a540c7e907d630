"""SASRec (arXiv:1808.09781), with a choice of losses."""

import torch

from recbench.core import Catalogue, FitContext, FitReport, Queries, Rankings
from recbench.core.seeds import derived_seed
from recbench.nn.blocks import HistoryRecommender, SequenceEncoder
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training import Windows, logit_vectors, train_next_items
from recbench_models.sasrec.config import SASRecConfig
from recbench_models.sasrec.network import SASRecTraining, build_encoder


class SASRec(HistoryRecommender[SequenceEncoder]):
    """Ranks items by the inner product of their vector with the state of the newest slot of the history."""

    def __init__(self, config: SASRecConfig, catalogue: Catalogue) -> None:
        super().__init__(build_encoder(config.network, catalogue.n_items))
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Train every prefix of the train part to predict what follows it."""
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(context.seed, "sasrec", "initial weights"))
            self.encoder = build_encoder(config.network, context.train.n_items)
        cut = Windows.newest if config.windows == "newest" else Windows.of
        windows = cut(context.train, config.network.max_length)
        module = SASRecTraining(self.encoder, config, context.train, windows)
        return train_next_items(
            context, module, batch_size=config.batch_size, batch_unit=config.batch_unit, settings=config.training, ranker=self
        )

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest scores; after an empty history all scores are 0 and item rows decide."""
        with torch.inference_mode():
            return full_catalogue_topk(*logit_vectors(self.config, self.encode(queries), self.encoder.item_ID), queries, k)
