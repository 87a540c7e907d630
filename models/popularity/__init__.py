"""The most frequent items of the train part, the same for everybody."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.popularity.config import PopularityConfig


def _build(config: PopularityConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (there is nothing to choose)
    from recbench_models.popularity.recommender import Popularity

    return Popularity(catalogue)


PLUGIN = Plugin.from_folder(__file__, PopularityConfig, _build)
