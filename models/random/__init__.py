"""Items in random order, another order for every user: what no skill at all gets."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.random.config import RandomConfig


def _build(config: RandomConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.random.recommender import Random

    return Random(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, RandomConfig, _build)
