"""The most frequent items of the last days before the split; how many days, validation says."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.recent_popularity.config import RecentPopularityConfig


def _build(config: RecentPopularityConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.recent_popularity.recommender import RecentPopularity

    return RecentPopularity(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, RecentPopularityConfig, _build)
