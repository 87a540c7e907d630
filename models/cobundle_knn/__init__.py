"""Items that stand in the same train bundles as the items that are shown."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.cobundle_knn.config import CoBundleKNNConfig


def _build(config: CoBundleKNNConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.cobundle_knn.recommender import CoBundleKNN

    return CoBundleKNN(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, CoBundleKNNConfig, _build)
