"""Co-bundle neighbours, ranked again by vectors of the matrix of co-occurrence."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.ppmi_svd.config import PPMISVDConfig


def _build(config: PPMISVDConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.ppmi_svd.recommender import PPMISVD

    return PPMISVD(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, PPMISVDConfig, _build)
