"""GRU4Rec with a softmax over all items."""

from recbench.core import Catalogue, FitContext, FitReport
from recbench.nn.blocks import HistoryRecommender
from recbench.nn.training import NextItemLossSettings, NextItemTraining, Windows, torch_seeded, train_next_items
from recbench_models.gru4rec.config import GRU4RecConfig
from recbench_models.gru4rec.network import GRUEncoder


class GRU4Rec(HistoryRecommender[GRUEncoder]):
    """Ranks items by the inner product of their vector with the state after the newest item of the history."""

    def __init__(self, config: GRU4RecConfig, catalogue: Catalogue) -> None:
        super().__init__(GRUEncoder(config.network, catalogue.n_items))
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Train every prefix of the train part to predict what follows it."""
        config = self.config
        with torch_seeded(context.seed, "gru4rec", "initial weights"):
            self.encoder = GRUEncoder(config.network, context.train.n_items)
        windows = Windows.of(context.train, config.network.max_length)
        module = NextItemTraining(self.encoder, NextItemLossSettings(loss="ce"), context.train, windows, mixes_lengths=False)
        return train_next_items(
            context, module, batch_size=config.batch_targets, batch_unit="targets", settings=config.training, ranker=self
        )
