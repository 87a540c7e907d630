"""SASRec (arXiv:1808.09781), with a choice of losses."""

from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport
from recbench.nn.blocks import HistoryRecommender, SequenceEncoder
from recbench.nn.training import Windows, logit_vectors, torch_seeded, train_next_items
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
        with torch_seeded(context.seed, "sasrec", "initial weights"):
            self.encoder = build_encoder(config.network, context.train.n_items)
        cut = Windows.newest if config.windows == "newest" else Windows.of
        windows = cut(context.train, config.network.max_length)
        module = SASRecTraining(self.encoder, config, context.train, windows)
        return train_next_items(
            context, module, batch_size=config.batch_size, batch_unit=config.batch_unit, settings=config.training, ranker=self
        )

    def multiplied(self, state_BD: Tensor, item_ID: Tensor) -> tuple[Tensor, Tensor]:
        """States and item vectors as the loss takes them: of length 1 where the settings say so."""
        return logit_vectors(self.config, state_BD, item_ID)
