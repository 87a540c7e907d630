"""Popular items of the categories that are not filled yet."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.slot_popularity.config import SlotPopularityConfig


def _build(config: SlotPopularityConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.slot_popularity.recommender import SlotPopularity

    return SlotPopularity(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, SlotPopularityConfig, _build)
