"""A bundle from the items it has: modalities fused by attention, items read as a set, and two contrastive losses."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.clhe.config import CLHEConfig


def _build(config: CLHEConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.clhe.recommender import CLHE

    return CLHE(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, CLHEConfig, _build)
