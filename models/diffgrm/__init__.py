"""DiffGRM: the digits of the next item's code are filled in any order, those first of which the network is surest."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.diffgrm.config import DiffGRMConfig


def _build(config: DiffGRMConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.diffgrm.recommender import DiffGRM

    return DiffGRM(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, DiffGRMConfig, _build)
