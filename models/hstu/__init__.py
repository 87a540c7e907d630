"""Pointwise aggregated attention over items and the times between them."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.hstu.config import HSTUConfig


def _build(config: HSTUConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.hstu.recommender import HSTU

    return HSTU(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, HSTUConfig, _build)
