"""RaMen: bundles by content, by a graph of items that users used together, and by a few learnt hyperedges."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.ramen.config import RaMenConfig


def _build(config: RaMenConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.ramen.recommender import RaMen

    return RaMen(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, RaMenConfig, _build)
