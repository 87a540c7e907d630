"""The most frequent items of the train part, the same for everybody."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.popularity.config import PopularityConfig


def _build(config: PopularityConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.popularity.recommender import Popularity

    return Popularity(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, PopularityConfig, _build)
