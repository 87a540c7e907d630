"""Two streams of causal self-attention side by side, one over items and one over their attributes."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.fdsa.config import FDSAConfig


def _build(config: FDSAConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.fdsa.recommender import FDSA

    return FDSA(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, FDSAConfig, _build)
