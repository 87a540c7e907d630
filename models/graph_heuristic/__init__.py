"""Which item follows which, and whose texts are alike: an untrained graph heuristic."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.graph_heuristic.config import GraphHeuristicConfig


def _build(config: GraphHeuristicConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.graph_heuristic.recommender import GraphHeuristic

    return GraphHeuristic(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, GraphHeuristicConfig, _build)
