"""TIGER: text becomes item codes, and an encoder-decoder writes the code of the next item."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.tiger.config import TIGERConfig


def _build(config: TIGERConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the codes say)
    from recbench_models.tiger.recommender import TIGER

    return TIGER(config)


PLUGIN = Plugin.from_folder(__file__, TIGERConfig, _build)
