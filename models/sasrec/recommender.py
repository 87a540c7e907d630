"""SASRec (arXiv:1808.09781), with a choice of losses."""

import torch

from recbench.core import Catalogue, FitContext, FitReport, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.core.seeds import derived_seed
from recbench.nn.blocks import HistoryRecommender, SequenceEncoder
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training import Windows, logit_vectors, train
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
            return full_catalogue_topk(*logit_vectors(self.config, self.encode(queries), self.encoder.item_ID), queries, k)
