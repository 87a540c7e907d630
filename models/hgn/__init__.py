"""Gates decide which features of the newest items count, and which of the items; a vector of the user joins them."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.hgn.config import HGNConfig


def _build(config: HGNConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.hgn.recommender import HGN

    return HGN(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, HGNConfig, _build)
