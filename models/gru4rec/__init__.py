"""A gated recurrent network reads the history; every prefix predicts the item that follows it."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.gru4rec.config import GRU4RecConfig


def _build(config: GRU4RecConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.gru4rec.recommender import GRU4Rec

    return GRU4Rec(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, GRU4RecConfig, _build)
