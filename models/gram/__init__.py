"""GRAM: items named by words of a language model; a user is a handful of short texts, each encoded on its own and fused in the decoder."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.gram.config import GRAMConfig


def _build(config: GRAMConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the IDs say)
    from recbench_models.gram.recommender import GRAM

    return GRAM(config)


PLUGIN = Plugin.from_folder(__file__, GRAMConfig, _build)
