"""Co-bundle neighbours and text neighbours, added with a weight that validation chooses."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.blend.config import BlendConfig


def _build(config: BlendConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.blend.recommender import Blend

    return Blend(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, BlendConfig, _build)
