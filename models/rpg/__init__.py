"""RPG: all digits of the next item's code at once, and every item scored by the sum of its digits' log-probabilities."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.rpg.config import RPGConfig


def _build(config: RPGConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.rpg.recommender import RPG

    return RPG(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, RPGConfig, _build)
