"""Implicit matrix factorisation, arXiv 2110.14037."""

from recbench.core import Catalogue, Plugin, Recommender

from .config import IALSConfig


def _build(config: IALSConfig, catalogue: Catalogue) -> Recommender:
    from .recommender import IALS  # torch comes with it, and is not needed to list models

    return IALS(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, IALSConfig, _build)
