"""A linear autoencoder over items in closed form."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.ease.config import EASEConfig


def _build(config: EASEConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.ease.recommender import EASE

    return EASE(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, EASEConfig, _build)
